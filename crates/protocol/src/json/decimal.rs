//! Decimal numbers of any length, to be compared.

use std::{cmp::Ordering, fmt};

use serde_json::Number;

/// Powers of ten beyond which a divisor of less than 128 bits has no more twos and fives to lose.
const TENS_MAX: i64 = 128;

/// Digits that are divided at once, as a power of ten: with the rest of a division by 20 digits they have room in 128 bits.
const DIVIDED_AT_ONCE: u128 = 10_u128.pow(18);

/// Zeros behind the digits of a number that is written without an exponent, at most: those of any integer of 64 bits.
const PLAIN_ZEROS_MAX: usize = 20;

/// 0.`digits` × 10^`point`, exactly.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decimal {
    /// Whether it is below zero.
    pub negative: bool,
    /// Without zeros at either end; none at all for zero.
    pub digits: String,
    /// Behind how many of them the point goes.
    pub point: i64,
}

impl Decimal {
    /// Of a number as JSON has it. An exponent that no 64 bits hold is as good as the largest.
    pub fn parse(text: &str) -> Self {
        let (negative, text) = match text.strip_prefix('-') {
            Some(text) => (true, text),
            None => (false, text),
        };
        let (number, exponent) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        let exponent = exponent.parse().unwrap_or(if exponent.starts_with('-') {
            i64::MIN
        } else {
            i64::MAX
        });
        let all = format!("{whole}{fraction}");
        let digits = all.trim_start_matches('0');
        let length = |text: &str| i64::try_from(text.len()).unwrap_or(i64::MAX);
        let zeros = length(&all) - length(digits);
        let point = exponent.saturating_add(length(whole) - zeros);
        let digits = digits.trim_end_matches('0');
        let is_zero = digits.is_empty();
        Self {
            negative: negative && !is_zero,
            digits: digits.to_owned(),
            point: if is_zero { 0 } else { point },
        }
    }

    /// Of a number as `serde_json` writes it: the shortest digits that stand for it.
    pub fn of(number: &Number) -> Self {
        Self::parse(&number.to_string())
    }

    /// Whether it is a whole number.
    pub fn is_whole(&self) -> bool {
        self.places() >= 0
    }

    /// Whether it is a multiple of `divisor`, which is a number of a schema: it has at most 20 digits.
    pub fn is_multiple_of(&self, divisor: &Self) -> bool {
        if self.digits.is_empty() {
            return true;
        }
        let by = divisor.digits.parse::<u128>().unwrap_or(0);
        let tens = self.places().saturating_sub(divisor.places());
        // The last digit is no zero, so that it is no multiple of ten.
        let Ok(tens) = usize::try_from(tens.min(TENS_MAX)) else {
            return false;
        };
        if by == 0 {
            return false;
        }
        let zeros = "0".repeat(tens);
        let digits = self.digits.bytes().chain(zeros.bytes());
        let digits = digits.map(|byte| u128::from(byte.saturating_sub(b'0')));
        // What is left of a division, and the digits behind it, how many as a power of ten.
        let (mut rest, mut behind, mut power) = (0_u128, 0_u128, 1_u128);
        for digit in digits {
            behind = behind * 10 + digit;
            power *= 10;
            if power == DIVIDED_AT_ONCE {
                rest = (rest * power + behind) % by;
                (behind, power) = (0, 1);
            }
        }
        (rest * power + behind) % by == 0
    }

    /// How many zeros are behind its digits; below zero, how many of them are behind the point.
    fn places(&self) -> i64 {
        let length = i64::try_from(self.digits.len()).unwrap_or(i64::MAX);
        self.point.saturating_sub(length)
    }
}

/// Whole numbers of a moderate length as integers, so that they are written like those.
impl fmt::Display for Decimal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { digits, point, .. } = self;
        let sign = if self.negative { "-" } else { "" };
        match usize::try_from(self.places()) {
            Ok(zeros) if zeros <= PLAIN_ZEROS_MAX => {
                let digits = if digits.is_empty() { "0" } else { digits };
                write!(f, "{sign}{digits}{}", "0".repeat(zeros))
            }
            _ => write!(f, "{sign}0.{digits}e{point}"),
        }
    }
}

impl Ord for Decimal {
    fn cmp(&self, other: &Self) -> Ordering {
        let sign = |one: &Self| match (one.negative, one.digits.is_empty()) {
            (true, _) => -1,
            (false, true) => 0,
            (false, false) => 1,
        };
        let size = (self.point, &self.digits).cmp(&(other.point, &other.digits));
        sign(self)
            .cmp(&sign(other))
            .then(if self.negative { size.reverse() } else { size })
    }
}

impl PartialOrd for Decimal {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_their_order() {
        let ordered = [
            "-1e400",
            "-123456789012345678901234567891",
            "-123456789012345678901234567890",
            "-12",
            "-1.20000000000000000001",
            "-1.2",
            "-1e-400",
            "0",
            "1e-400",
            "0.1",
            "0.10000000000000000000001",
            "0.12",
            "1",
            "1.00000000000000000001",
            "9",
            "10",
            "123456789012345678901234567890",
            "1e400",
            "1e99999999999999999999",
        ];
        for (at, one) in ordered.iter().enumerate() {
            for (other_at, other) in ordered.iter().enumerate() {
                let found = Decimal::parse(one).cmp(&Decimal::parse(other));
                assert_eq!(found, at.cmp(&other_at), "{one} {other}");
            }
        }
        for (one, other) in [
            ("1", "1.0"),
            ("1e2", "100"),
            ("10E-1", "1"),
            ("0.00", "-0"),
            ("1.50", "15e-1"),
            ("0e9", "0"),
            ("1e+2", "100"),
        ] {
            assert_eq!(Decimal::parse(one), Decimal::parse(other));
        }
    }

    #[test]
    fn equal_numbers_are_written_alike() {
        for (number, written) in [
            ("1.0", "1"),
            ("-10e-1", "-1"),
            ("0.0", "0"),
            ("-0", "0"),
            ("1e2", "100"),
            ("1e19", "10000000000000000000"),
            ("1e400", "0.1e401"),
            ("1.50", "0.15e1"),
        ] {
            assert_eq!(Decimal::parse(number).to_string(), written);
        }
    }

    #[test]
    fn whole_numbers_and_multiples_are_told() {
        for (number, whole) in [
            ("0", true),
            ("5.0", true),
            ("5e0", true),
            ("1.5e1", true),
            ("1.5", false),
            ("1e-1", false),
            ("123456789012345678901234567890.5", false),
            ("1e400", true),
            ("1e-400", false),
        ] {
            assert_eq!(Decimal::parse(number).is_whole(), whole, "{number}");
        }
        for (number, divisor, multiple) in [
            ("0", "7", true),
            ("123456789012345678901234567890", "10", true),
            ("123456789012345678901234567890", "7", true),
            ("123456789012345678901234567891", "7", false),
            ("123456789012345678901234567891", "3", false),
            ("123456789012345678901234567890", "3", true),
            ("0.1234567890123456789012", "0.0001", false),
            ("0.3", "0.1", true),
            ("-0.35", "0.1", false),
            ("1e400", "3", false),
            ("1e400", "1024", true),
            ("1e-400", "1", false),
            ("3e400", "0.75", true),
            ("10", "20", false),
            (
                "123456789012345678901234567890123456789012345678901234567890",
                "18446744073709551615",
                false,
            ),
            ("18446744073709551615e100", "18446744073709551615", true),
            (
                "340282366920938463426481119284349108225",
                "18446744073709551615",
                true,
            ),
            (
                "340282366920938463426481119284349108226",
                "18446744073709551615",
                false,
            ),
        ] {
            let found = Decimal::parse(number).is_multiple_of(&Decimal::parse(divisor));
            assert_eq!(found, multiple, "{number} {divisor}");
        }
    }
}
