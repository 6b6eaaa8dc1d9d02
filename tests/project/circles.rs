//! No files that import each other in a circle. An arrow runs from the file that names something, in a `use` or in a
//! path, to the file that defines it, wherever it is re-exported. The files are read as text: a module is where its file
//! is, and calls of methods are not seen. Tests are left out: files of that name, and what follows `mod tests`.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

use crate::architecture::{code, files};

/// How many names are followed from one to the next.
const FOLLOWED_MAX: usize = 16;

type Words = Vec<String>;

/// A file, as a module.
struct File {
    name: String,
    /// The crate's name, and those of the modules.
    module: Words,
    /// Names that a `use` brings in, each with the path behind it.
    aliases: BTreeMap<String, Words>,
    /// What `use` brings in whole.
    globs: Vec<Words>,
    defined: BTreeSet<String>,
    /// Every path that it names.
    paths: BTreeSet<Words>,
}

/// From file to file, the names.
type Arrows = BTreeMap<usize, BTreeMap<usize, BTreeSet<String>>>;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// All files, those of tests left out.
fn read() -> Vec<File> {
    let mut crates = vec![
        ("onex_registry".to_owned(), root().join("src")),
        ("benches".to_owned(), root().join("benches/registry")),
    ];
    for entry in fs::read_dir(root().join("crates")).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        crates.push((format!("onex_{name}"), path.join("src")));
    }
    let mut read = Vec::new();
    for (name, folder) in crates {
        for path in files(&folder) {
            let below = path.strip_prefix(&folder).unwrap().with_extension("");
            let mut module = vec![name.clone()];
            module.extend(below.iter().map(|part| part.to_str().unwrap().to_owned()));
            match module.last().map(String::as_str) {
                Some("tests") => continue,
                Some("mod") => drop(module.pop()),
                Some("lib" | "main") if module.len() == 2 && path != root().join("src/main.rs") => {
                    module.pop();
                }
                _ => {}
            }
            let name = path.strip_prefix(root()).unwrap().to_str().unwrap();
            read.push(File::new(name, module, &code(&path)));
        }
    }
    read
}

/// How long the text, character or comment is with which `code` begins; none where that is something else.
fn passed_over(code: &str) -> Option<usize> {
    let ends = |from: usize, end: &str| {
        let at = code.get(from..)?.find(end)?;
        Some(from + at + end.len())
    };
    let raw = code.strip_prefix("br").or(code.strip_prefix('r'));
    if let Some(raw) = raw.filter(|raw| raw.trim_start_matches('#').starts_with('"')) {
        let hashes: String = raw.chars().take_while(|c| *c == '#').collect();
        let start = code.len() - raw.len() + hashes.len() + 1;
        ends(start, &format!("\"{hashes}"))
    } else if code.starts_with("//") {
        ends(0, "\n").or(Some(code.len()))
    } else if code.starts_with('"') {
        let mut chars = code.char_indices().skip(1);
        while let Some((at, c)) = chars.next() {
            match c {
                '"' => return Some(at + 1),
                '\\' => drop(chars.next()),
                _ => {}
            }
        }
        None
    } else if code.starts_with("'\\") {
        ends(3, "'")
    } else if code.starts_with('\'') && code.chars().nth(2) == Some('\'') {
        ends(1, "'")
    } else {
        None
    }
}

/// Words, `::`, and other characters, without comments, texts, and white space.
fn tokens(code: &str) -> Vec<&str> {
    let mut tokens = Vec::new();
    let mut rest = code;
    while let Some(c) = rest.chars().next() {
        let is_word = |c: char| c.is_alphanumeric() || c == '_';
        let length = if let Some(length) = passed_over(rest) {
            rest = &rest[length..];
            continue;
        } else if is_word(c) {
            rest.find(|c| !is_word(c)).unwrap_or(rest.len())
        } else if rest.starts_with("::") {
            2
        } else {
            c.len_utf8()
        };
        if !c.is_whitespace() {
            tokens.push(&rest[..length]);
        }
        rest = &rest[length..];
    }
    tokens
}

fn is_name(token: &str) -> bool {
    token.starts_with(|c: char| c.is_alphabetic() || c == '_')
}

impl File {
    fn new(name: &str, module: Words, code: &str) -> Self {
        let mut file = Self {
            name: name.to_owned(),
            module,
            aliases: BTreeMap::new(),
            globs: Vec::new(),
            defined: BTreeSet::new(),
            paths: BTreeSet::new(),
        };
        let tokens = tokens(code);
        let mut rest = tokens.as_slice();
        let mut before = "";
        while let [token, behind @ ..] = rest {
            rest = behind;
            match *token {
                // `use<'a>` stands in types.
                "use" if rest.first() != Some(&"<") => file.import(&mut rest, &[]),
                "mod" if rest.get(1) == Some(&";") => {
                    // Where it is none of our files, nothing is behind that name.
                    file.aliases.insert(rest[0].to_owned(), Words::new());
                }
                "struct" | "enum" | "fn" | "type" | "const" | "static" | "trait" | "mod" => {
                    file.defined
                        .extend(rest.first().map(|name| (*name).to_owned()));
                }
                word if is_name(word) && before != "::" && before != "." => {
                    let mut path = vec![word.to_owned()];
                    while let ["::", next, behind @ ..] = rest
                        && is_name(next)
                    {
                        path.push((*next).to_owned());
                        rest = behind;
                    }
                    if path.len() > 1 {
                        file.paths.insert(path);
                    }
                }
                _ => {}
            }
            before = token;
        }
        file
    }

    /// A tree of `use` behind `start`, up to what closes it.
    fn import(&mut self, rest: &mut &[&str], start: &[String]) {
        let mut path = start.to_vec();
        while let [token, behind @ ..] = *rest {
            match *token {
                ";" | "," | "}" => break,
                "::" => {}
                "{" => {
                    *rest = behind;
                    while rest
                        .first()
                        .is_some_and(|token| *token != "}" && *token != ";")
                    {
                        self.import(rest, &path);
                        if rest.first() == Some(&",") {
                            *rest = &rest[1..];
                        }
                    }
                    *rest = &rest[1..];
                    return;
                }
                "*" => {
                    *rest = behind;
                    self.globs.push(path.clone());
                    path.push("*".to_owned());
                    self.paths.insert(path);
                    return;
                }
                "as" => {
                    let alias = behind[0].to_owned();
                    *rest = &behind[1..];
                    return self.bring_in(alias, path);
                }
                "self" if !path.is_empty() => {}
                name => path.push(name.to_owned()),
            }
            *rest = behind;
        }
        if let Some(name) = path.last().cloned() {
            self.bring_in(name, path);
        }
    }

    fn bring_in(&mut self, alias: String, path: Words) {
        self.paths.insert(path.clone());
        self.aliases.insert(alias, path);
    }
}

/// Every path that code names.
pub(crate) fn paths(code: &str) -> BTreeSet<Words> {
    File::new("", Words::new(), code).paths
}

struct Files {
    files: Vec<File>,
    modules: BTreeMap<Words, usize>,
}

impl Files {
    fn new(files: Vec<File>) -> Self {
        let modules = files.iter().enumerate();
        let modules = modules.map(|(index, file)| (file.module.clone(), index));
        Self {
            modules: modules.collect(),
            files,
        }
    }

    /// The file that defines what a path names in a file of ours, and the name.
    fn find(&self, file: usize, path: &[String], depth: usize) -> Option<(usize, String)> {
        if depth > FOLLOWED_MAX {
            return None;
        }
        let File {
            module, aliases, ..
        } = &self.files[file];
        let (first, behind) = path.split_first()?;
        match first.as_str() {
            "crate" => self.look_up(&module[..1], behind, depth),
            "self" => self.look_up(module, behind, depth),
            "super" => {
                let ups = path.iter().take_while(|word| *word == "super").count();
                let module = &module[..module.len().checked_sub(ups)?];
                self.look_up(module, &path[ups..], depth)
            }
            name => {
                let child = [module.as_slice(), &[name.to_owned()]].concat();
                if self.modules.contains_key(&child) {
                    self.look_up(&child, behind, depth)
                } else if self.modules.contains_key(&path[..1]) {
                    self.look_up(&path[..1], behind, depth)
                } else {
                    let alias = aliases
                        .get(name)
                        .filter(|alias| alias.first() != Some(first))?;
                    self.find(file, &[alias, behind].concat(), depth + 1)
                }
            }
        }
    }

    /// The same, of what a path names in a module.
    fn look_up(&self, module: &[String], path: &[String], depth: usize) -> Option<(usize, String)> {
        let index = *self.modules.get(module)?;
        let (first, behind) = path.split_first()?;
        let child = [module, &path[..1]].concat();
        if self.modules.contains_key(&child) {
            return self.look_up(&child, behind, depth);
        }
        let file = &self.files[index];
        if let Some(alias) = file.aliases.get(first) {
            return self.find(index, &[alias, behind].concat(), depth + 1);
        }
        let globs = file.globs.iter();
        let mut found = globs.filter_map(|glob| {
            let path = [glob, path].concat();
            let (other, name) = self.find(index, &path, depth + 1)?;
            self.files[other]
                .defined
                .contains(&name)
                .then_some((other, name))
        });
        Some(found.next().unwrap_or((index, first.clone())))
    }

    fn arrows(&self) -> Arrows {
        let mut arrows = Arrows::new();
        for (from, file) in self.files.iter().enumerate() {
            for path in &file.paths {
                if let Some((to, name)) = self.find(from, path, 0)
                    && to != from
                {
                    let names = arrows.entry(from).or_default().entry(to).or_default();
                    names.insert(name);
                }
            }
        }
        arrows
    }
}

/// What can be reached from a file over arrows.
fn reached(from: usize, arrows: &Arrows) -> BTreeSet<usize> {
    let mut reached = BTreeSet::new();
    let mut next = vec![from];
    while let Some(file) = next.pop() {
        let new = arrows.get(&file).into_iter().flat_map(BTreeMap::keys);
        next.extend(new.filter(|file| reached.insert(**file)));
    }
    reached
}

/// Files each of which can be reached from all the others.
fn circles(arrows: &Arrows) -> BTreeSet<BTreeSet<usize>> {
    let reach: BTreeMap<usize, BTreeSet<usize>> = arrows
        .keys()
        .map(|file| (*file, reached(*file, arrows)))
        .collect();
    let in_circles = reach
        .iter()
        .filter(|(file, reached)| reached.contains(file));
    let circle = |(file, reached): (&usize, &BTreeSet<usize>)| {
        let back = |other: &&usize| reach.get(other).is_some_and(|back| back.contains(file));
        reached.iter().filter(back).copied().collect()
    };
    in_circles.map(circle).collect()
}

/// The files of a circle, each with what ties it to others of them.
fn describe(circle: &BTreeSet<usize>, files: &Files, arrows: &Arrows) -> String {
    let name = |file: &usize| files.files[*file].name.as_str();
    let mut lines = vec!["A circle:".to_owned()];
    for from in circle {
        lines.push(name(from).to_owned());
        for (to, names) in arrows[from].iter().filter(|(to, _)| circle.contains(to)) {
            let names: Vec<&str> = names.iter().map(String::as_str).collect();
            lines.push(format!("  -> {}: {}", name(to), names.join(", ")));
        }
    }
    lines.join("\n")
}

#[test]
fn no_files_import_each_other_in_a_circle() {
    let files = Files::new(read());
    let arrows = files.arrows();
    let found = circles(&arrows);
    let found: Vec<String> = found
        .iter()
        .map(|circle| describe(circle, &files, &arrows))
        .collect();
    assert!(found.is_empty(), "\n{}", found.join("\n\n"));
}

#[test]
fn names_are_followed_to_the_files_that_define_them() {
    let a =
        "mod b; mod c; mod elsewhere; pub use c::C; use elsewhere::X; fn f() { c::g('\\'', '\"') }";
    let b = "use super::{C as D, X}; pub struct B; const TEXT: &str = r#\"use \"super::f;\"#; br#\"\"\"#; // crate::a::f";
    let c =
        "pub struct C; fn g<'a>() -> impl F + use<'a> { crate::a::f(B::new()) } use super::b::*;";
    let file =
        |name: &str, code| File::new(name, name.split('/').map(str::to_owned).collect(), code);
    let files = [("x", ""), ("x/a", a), ("x/a/b", b), ("x/a/c", c)];
    let arrows = Files::new(files.map(|(name, code)| file(name, code)).into()).arrows();
    let of = |from: usize, to: usize| -> Vec<&str> {
        let names = arrows.get(&from).and_then(|arrows| arrows.get(&to));
        names.into_iter().flatten().map(String::as_str).collect()
    };
    assert_eq!(of(1, 2), [""; 0], "nothing of it is named");
    assert_eq!(of(1, 3), ["C", "g"]);
    assert_eq!(of(2, 1), [""; 0], "neither texts nor comments are read");
    assert_eq!(of(2, 3), ["C"], "where it is re-exported does not count");
    assert_eq!(of(3, 1), ["f"]);
    assert_eq!(of(3, 2), ["*"]);
    assert_eq!(circles(&arrows), [[1, 2, 3].into()].into());
}
