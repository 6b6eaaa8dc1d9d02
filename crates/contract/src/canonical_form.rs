//! JSON in the one form of all that means the same.

use std::fmt::Write as _;

use serde_json::{Number, Value};

use onex_protocol::json::Decimal;

/// The one form of all JSON that means the same.
pub(super) fn form(value: &Value) -> String {
    let mut text = String::new();
    write(value, &mut text);
    text
}

/// Appends the one form of all JSON that means the same. Source: RFC 8785 (JCS).
fn write(value: &Value, out: &mut String) {
    match value {
        Value::Number(number) => write_number(number, out),
        Value::Array(items) => {
            out.push('[');
            for (at, item) in items.iter().enumerate() {
                if at > 0 {
                    out.push(',');
                }
                write(item, out);
            }
            out.push(']');
        }
        Value::Object(members) => {
            let mut members: Vec<_> = members.iter().collect();
            members.sort_unstable_by(|(one, _), (other, _)| in_order(one, other));
            out.push('{');
            for (at, (name, member)) in members.into_iter().enumerate() {
                if at > 0 {
                    out.push(',');
                }
                // Text has one form already: only what must be escaped is.
                write_text(name, out);
                out.push(':');
                write(member, out);
            }
            out.push('}');
        }
        Value::String(text) => write_text(text, out),
        Value::Null | Value::Bool(_) => {
            let _ = write!(out, "{value}");
        }
    }
}

fn write_text(text: &str, out: &mut String) {
    // Writing to a String cannot fail.
    let _ = write!(out, "{}", Value::from(text));
}

/// By UTF-16 code units. Source: RFC 8785, section 3.2.3.
pub(super) fn in_order(one: &str, other: &str) -> std::cmp::Ordering {
    one.encode_utf16().cmp(other.encode_utf16())
}

/// As JavaScript writes it, but with all digits of an integer: of a number that is none, the shortest that stand for
/// it. Source: RFC 8785, section 3.2.2.3, which is ECMA-262, `Number::toString`.
fn write_number(number: &Number, out: &mut String) {
    let decimal = Decimal::of(number);
    let point = i32::try_from(decimal.point).unwrap_or_default();
    let Decimal {
        negative, digits, ..
    } = decimal;
    let length = i32::try_from(digits.len()).unwrap_or(i32::MAX);
    if negative {
        out.push('-');
    }
    let zeros = |count: i32| "0".repeat(usize::try_from(count).unwrap_or_default());
    let split = |at: i32| digits.split_at(usize::try_from(at).unwrap_or_default());
    if digits.is_empty() {
        out.push('0');
    } else if (length..=21).contains(&point) {
        out.push_str(&digits);
        out.push_str(&zeros(point - length));
    } else if (1..=21).contains(&point) {
        let (whole, fraction) = split(point);
        let _ = write!(out, "{whole}.{fraction}");
    } else if (-5..=0).contains(&point) {
        let _ = write!(out, "0.{}{digits}", zeros(-point));
    } else {
        let (first, rest) = split(1);
        let dot = if rest.is_empty() { "" } else { "." };
        let _ = write!(out, "{first}{dot}{rest}e{:+}", point - 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_form(text: &str, canonical: &str) {
        let written = form(&serde_json::from_str(text).unwrap());
        assert_eq!(written, canonical, "{text}");
    }

    /// Source: RFC 8785, appendix B.
    #[test]
    fn numbers_are_written_as_javascript_writes_them() {
        for (bits, text) in [
            (0x0000_0000_0000_0000, "0"),
            (0x8000_0000_0000_0000, "0"),
            (0x0000_0000_0000_0001, "5e-324"),
            (0x8000_0000_0000_0001, "-5e-324"),
            (0x7fef_ffff_ffff_ffff, "1.7976931348623157e+308"),
            (0x4340_0000_0000_0000, "9007199254740992"),
            (0xc340_0000_0000_0000, "-9007199254740992"),
            (0x4430_0000_0000_0000, "295147905179352830000"),
            (0x44b5_2d02_c7e1_4af5, "9.999999999999997e+22"),
            (0x44b5_2d02_c7e1_4af6, "1e+23"),
            (0x44b5_2d02_c7e1_4af7, "1.0000000000000001e+23"),
            (0x444b_1ae4_d6e2_ef4e, "999999999999999700000"),
            (0x444b_1ae4_d6e2_ef4f, "999999999999999900000"),
            (0x444b_1ae4_d6e2_ef50, "1e+21"),
            (0x3eb0_c6f7_a0b5_ed8c, "9.999999999999997e-7"),
            (0x3eb0_c6f7_a0b5_ed8d, "0.000001"),
            (0x41b3_de43_5555_5553, "333333333.3333332"),
            (0x41b3_de43_5555_5557, "333333333.33333343"),
            (0xbecb_f647_612f_3696, "-0.0000033333333333333333"),
            (0x4314_3ff3_c1cb_0959, "1424953923781206.2"),
        ] {
            let number = Number::from_f64(f64::from_bits(bits)).unwrap();
            let mut written = String::new();
            write_number(&number, &mut written);
            assert_eq!(written, text, "{bits:x}");
            // And it is read as what it was.
            check_form(&number.to_string(), text);
        }
        for (text, canonical) in [
            ("1", "1"),
            ("1.0", "1"),
            ("1e2", "100"),
            ("-0.0", "0"),
            ("-5.0", "-5"),
            ("10000000000000000000", "10000000000000000000"),
            ("1e19", "10000000000000000000"),
            ("0.1", "0.1"),
            ("1.50", "1.5"),
            ("9007199254740993", "9007199254740993"),
            ("18446744073709551615", "18446744073709551615"),
            ("-9223372036854775807", "-9223372036854775807"),
            ("1E-7", "1e-7"),
        ] {
            check_form(text, canonical);
        }
    }

    /// Source: RFC 8785, section 3.2.3 and 3.2.4.
    #[test]
    fn text_and_members_have_one_form() {
        check_form(
            r#"{ "b" : 1, "a" : [ null , true ] }"#,
            r#"{"a":[null,true],"b":1}"#,
        );
        check_form(r#""\u0041\/\u00e9""#, "\"A/é\"");
        check_form(
            r#""\u20ac$\u000F\u000aA'\u0042\u0022\u005c\\\"\/""#,
            r#""€$\u000f\nA'B\"\\\\\"/""#,
        );
        check_form(
            r#"{"\u20ac":1,"\r":2,"\ufb33":3,"1":4,"\ud83d\ude00":5,"\u0080":6,"\u00f6":7}"#,
            "{\"\\r\":2,\"1\":4,\"\u{80}\":6,\"ö\":7,\"€\":1,\"😀\":5,\"\u{fb33}\":3}",
        );
    }
}
