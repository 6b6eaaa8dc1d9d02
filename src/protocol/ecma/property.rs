//! What ECMA-262 takes from Unicode, by the names that it has for it.

use std::sync::LazyLock;

use fancy_regex::Regex;

use super::Reader;

/// Values of `General_Category`. Source: ECMA-262, table of values of General_Category.
const CATEGORIES: &str = "Cased_Letter LC Close_Punctuation Pe Connector_Punctuation Pc Control Cc cntrl Currency_Symbol Sc \
    Dash_Punctuation Pd Decimal_Number Nd digit Enclosing_Mark Me Final_Punctuation Pf Format Cf Initial_Punctuation Pi \
    Letter L Letter_Number Nl Line_Separator Zl Lowercase_Letter Ll Mark M Combining_Mark Math_Symbol Sm Modifier_Letter Lm \
    Modifier_Symbol Sk Nonspacing_Mark Mn Number N Open_Punctuation Ps Other C Other_Letter Lo Other_Number No \
    Other_Punctuation Po Other_Symbol So Paragraph_Separator Zp Private_Use Co Punctuation P punct Separator Z \
    Space_Separator Zs Spacing_Mark Mc Surrogate Cs Symbol S Titlecase_Letter Lt Unassigned Cn Uppercase_Letter Lu";

/// Properties that a character has or has not. Source: ECMA-262, table of binary properties of Unicode.
const BINARY: &str = "ASCII ASCII_Hex_Digit AHex Alphabetic Alpha Any Assigned Bidi_Control Bidi_C Bidi_Mirrored Bidi_M \
    Case_Ignorable CI Cased Changes_When_Casefolded CWCF Changes_When_Casemapped CWCM Changes_When_Lowercased CWL \
    Changes_When_NFKC_Casefolded CWKCF Changes_When_Titlecased CWT Changes_When_Uppercased CWU Dash \
    Default_Ignorable_Code_Point DI Deprecated Dep Diacritic Dia Emoji Emoji_Component EComp Emoji_Modifier EMod \
    Emoji_Modifier_Base EBase Emoji_Presentation EPres Extended_Pictographic ExtPict Extender Ext Grapheme_Base Gr_Base \
    Grapheme_Extend Gr_Ext Hex_Digit Hex IDS_Binary_Operator IDSB IDS_Trinary_Operator IDST ID_Continue IDC ID_Start IDS \
    Ideographic Ideo Join_Control Join_C Logical_Order_Exception LOE Lowercase Lower Math Noncharacter_Code_Point NChar \
    Pattern_Syntax Pat_Syn Pattern_White_Space Pat_WS Quotation_Mark QMark Radical Regional_Indicator RI \
    Sentence_Terminal STerm Soft_Dotted SD Terminal_Punctuation Term Unified_Ideograph UIdeo Uppercase Upper \
    Variation_Selector VS White_Space space XID_Continue XIDC XID_Start XIDS";

impl Reader<'_> {
    /// What stands in the braces of `\p{…}`.
    pub(super) fn property(&mut self) -> Result<String, String> {
        let what = "a property of Unicode is written \\p{Name} or \\p{Name=Value}";
        if !self.eat('{') {
            return self.wrong(what);
        }
        let mut name = String::new();
        loop {
            match self.next() {
                Some('}') if !name.is_empty() => break,
                Some(c) if c.is_ascii_alphanumeric() || c == '_' => name.push(c),
                Some('=') if !name.is_empty() && !name.contains('=') => name.push('='),
                _ => return self.wrong(what),
            }
        }
        if is_known(&name) {
            return Ok(name);
        }
        self.wrong(&format!(
            "{name} is no property that Unicode has in ECMA-262: scripts are written \\p{{Script=Greek}}, and \
             capitals as there"
        ))
    }
}

/// Whether ECMA-262 has that property under that name. Which scripts there are is up to the engine, which takes their
/// names in any spelling: only that is looked at here.
fn is_known(name: &str) -> bool {
    let is_in = |names: &str, name: &str| names.split_whitespace().any(|one| one == name);
    match name.split_once('=') {
        None => is_in(CATEGORIES, name) || is_in(BINARY, name),
        Some(("General_Category" | "gc", value)) => is_in(CATEGORIES, value),
        Some(("Script" | "sc" | "Script_Extensions" | "scx", value)) => is_script(value),
        Some(_) => false,
    }
}

/// Whether it is written as names of scripts are: words with a capital each, with `_` between them.
fn is_script(name: &str) -> bool {
    let is_word = |word: &str| {
        let mut letters = word.chars();
        letters.next().is_some_and(|c| c.is_ascii_uppercase())
            && letters.all(|c| c.is_ascii_lowercase())
    };
    // The one name with a capital within a word.
    name == "SignWriting" || name.split('_').all(is_word)
}

static NAME: LazyLock<Option<Regex>> =
    LazyLock::new(|| Regex::new(r"^(?:[\p{ID_Start}$_]|\p{ID_Continue}|[\x{200c}\x{200d}])$").ok());
static NAME_START: LazyLock<Option<Regex>> =
    LazyLock::new(|| Regex::new(r"^[\p{ID_Start}$_]$").ok());

/// Whether a character may stand in the name of a group, or at its beginning.
pub(super) fn is_in_name(c: char, at_start: bool) -> bool {
    if c.is_ascii() {
        return c == '_' || c == '$' || c.is_ascii_alphabetic() || !at_start && c.is_ascii_digit();
    }
    let allowed = if at_start { &NAME_START } else { &NAME };
    let allowed = allowed.as_ref();
    allowed.is_some_and(|it| it.is_match(c.encode_utf8(&mut [0; 4])).unwrap_or_default())
}
