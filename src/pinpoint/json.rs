//! Parses untrusted JSON. A value that cannot be used affects no other value.
//!
//! `serde_json` checks the syntax of a text and finds where each value ends. Each value is parsed only on demand, and unused
//! values are not copied. A number out of range, half of a surrogate pair or a deeply nested value therefore does not break its
//! neighbours. Text that is not UTF-8 is not JSON ([RFC 8259, section 8.1]).
//!
//! [RFC 8259, section 8.1]: https://www.rfc-editor.org/rfc/rfc8259#section-8.1

use std::{borrow::Cow, fmt, iter, marker::PhantomData};

use serde::{
    Deserialize, Deserializer,
    de::{DeserializeSeed, Error as _, IgnoredAny, MapAccess, Visitor},
};
use serde_json::value::RawValue;

/// The used members of an object, each as the JSON text of its value. A `null` member counts as absent. If a member occurs
/// twice, the later one counts.
pub(super) trait Members<'a>: Default {
    /// The slot for the member of that name. `None` if the member is not used.
    fn member(&mut self, name: &str) -> Option<&mut Option<&'a RawValue>>;
}

/// Declares a type for an object and the names of its members.
macro_rules! object {
    ($(#[$doc:meta])* $object:ident { $($field:ident: $name:literal,)* }) => {
        $(#[$doc])*
        #[derive(Default)]
        struct $object<'a> { $($field: Option<&'a serde_json::value::RawValue>,)* }

        impl<'a> $crate::pinpoint::json::Members<'a> for $object<'a> {
            fn member(&mut self, name: &str) -> Option<&mut Option<&'a serde_json::value::RawValue>> {
                match name {
                    $($name => Some(&mut self.$field),)*
                    _ => None,
                }
            }
        }
    };
}
pub(super) use object;

/// Parses a whole text that is one object.
pub(super) fn parse_object<'a, T: Members<'a>>(text: &'a [u8]) -> Result<T, serde_json::Error> {
    let text = str::from_utf8(text).map_err(serde_json::Error::custom)?;
    // An error of `serde_json` can quote an unexpected string, however long it is.
    if !from_next_value(text).starts_with('{') {
        return Err(serde_json::Error::custom("it is not a JSON object"));
    }
    serde_json::from_str(text).map(|Object(members)| members)
}

/// Parses a value that is an object.
pub(super) fn members<'a, T: Members<'a>>(value: &'a RawValue) -> Option<T> {
    parse_object(value.get().as_bytes()).ok()
}

/// Calls `each` for every member of an object, with `None` if the value is `null`. Ignores a member whose name holds half of a
/// surrogate pair. Returns `None` if the value is not an object.
pub(super) fn each_member<'a>(
    value: &'a RawValue,
    each: impl FnMut(&str, Option<&'a RawValue>),
) -> Option<()> {
    let mut deserializer = serde_json::Deserializer::from_str(value.get());
    EachMember(each).deserialize(&mut deserializer).ok()
}

/// The elements of an array. Each is the members of an object, or `None` if the element is not an object.
pub(super) fn objects<'a, T: Members<'a>>(value: &'a RawValue) -> Option<impl Iterator<Item = Option<T>>> {
    elements(value, |rest| {
        if rest.starts_with('{') {
            take(rest).map(|Object(members)| Some(members))
        } else {
            take(rest).map(|IgnoredAny| None)
        }
    })
}

/// The elements of an array, each parsed by [`text`].
pub(super) fn texts(value: &RawValue) -> Option<impl Iterator<Item = Option<Cow<'_, str>>>> {
    elements(value, |rest| take(rest).map(text))
}

/// Skips to the next value of an array. The text between two values can be megabytes, so it is skipped byte by byte.
fn from_next_value(text: &str) -> &str {
    let bytes = text.as_bytes();
    let mut at = 0;
    while matches!(bytes.get(at), Some(b' ' | b'\n' | b'\t' | b'\r' | b',')) {
        at += 1;
    }
    text.get(at..).unwrap_or_default()
}

/// Iterates over the elements of an array lazily. `read` takes one element from the start of the text.
fn elements<'a, T>(
    value: &'a RawValue,
    read: impl Fn(&mut &'a str) -> Option<T>,
) -> Option<impl Iterator<Item = T>> {
    let mut rest = value.get().strip_prefix('[')?;
    Some(iter::from_fn(move || {
        rest = from_next_value(rest);
        if rest == "]" { None } else { read(&mut rest) }
    }))
}

/// Takes the first value from a valid text.
fn take<'a, T: Deserialize<'a>>(rest: &mut &'a str) -> Option<T> {
    let mut values = serde_json::Deserializer::from_str(rest).into_iter();
    let value = values.next()?.ok();
    *rest = rest.get(values.byte_offset()..)?;
    value
}

/// The text of a string value. `None` if it holds half of a surrogate pair.
pub(super) fn text(value: &RawValue) -> Option<Cow<'_, str>> {
    // A value that begins with a quote also ends with one. In a build for size, to strip a prefix calls `memcmp`.
    let json = value.get();
    let quoted = json.get(1..json.len() - 1).filter(|_| json.as_bytes()[0] == b'"')?;
    let is_escaped = memchr::memchr(b'\\', quoted.as_bytes()).is_some();
    if is_escaped { unescaped(quoted).map(Cow::Owned) } else { Some(Cow::Borrowed(quoted)) }
}

/// Decodes the escapes of a string in one allocation of its length. The buffer of `serde_json` grows by doubling, to up to
/// three times the text.
fn unescaped(mut rest: &str) -> Option<String> {
    let mut text = String::with_capacity(rest.len());
    while let Some((plain, escape)) = rest.split_once('\\') {
        text.push_str(plain);
        let kind;
        (kind, rest) = escape.split_at_checked(1)?;
        text.push(match kind {
            "\"" => '"',
            "\\" => '\\',
            "/" => '/',
            "b" => '\u{8}',
            "f" => '\u{c}',
            "n" => '\n',
            "r" => '\r',
            "t" => '\t',
            "u" => character(&mut rest)?,
            _ => return None,
        });
    }
    text.push_str(rest);
    Some(text)
}

/// Decodes the character after `\u`, from one or two UTF-16 code units.
fn character(rest: &mut &str) -> Option<char> {
    let unit = |rest: &mut &str| {
        let (digits, after) = rest.split_at_checked(4)?;
        *rest = after;
        u16::from_str_radix(digits, 16).ok()
    };
    let first = unit(rest)?;
    if !(0xd800..=0xdbff).contains(&first) {
        return char::from_u32(first.into());
    }
    *rest = rest.strip_prefix("\\u")?;
    let second = unit(rest)?;
    char::decode_utf16([first, second]).next()?.ok()
}

/// Parses an integer from 0 to 2^63 - 1 in any notation. `3.0` and `1e3` are integers too.
pub(super) fn whole_number(value: &RawValue) -> Option<i64> {
    let text = value.get();
    if let Ok(number) = text.parse::<i64>() {
        return (number >= 0).then_some(number);
    }
    let (mantissa, exponent) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
    let (is_negative, mantissa) = match mantissa.strip_prefix('-') {
        Some(mantissa) => (true, mantissa),
        None => (false, mantissa),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    if !whole.starts_with(|c: char| c.is_ascii_digit()) {
        return None;
    }
    let out_of_range = if exponent.starts_with('-') { i64::MIN } else { i64::MAX };
    let exponent = exponent.parse().unwrap_or(out_of_range);
    // The number of digits before the decimal point, after applying the exponent.
    let point = i64::try_from(whole.len()).ok()?.saturating_add(exponent);
    let mut number = 0_i64;
    let mut at = 0;
    for digit in whole.bytes().chain(fraction.bytes()).map(|digit| i64::from(digit - b'0')) {
        if at < point {
            number = number.checked_mul(10)?.checked_add(digit)?;
        } else if digit != 0 {
            return None;
        }
        at += 1;
    }
    // Multiplying a number other than 0 overflows after at most 19 steps.
    while number != 0 && at < point {
        number = number.checked_mul(10)?;
        at += 1;
    }
    (number == 0 || !is_negative).then_some(number)
}

/// Deserializes an object into its members.
struct Object<T>(T);

impl<'de, T: Members<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ObjectVisitor<T>(PhantomData<T>);

        impl<'de, T: Members<'de>> Visitor<'de> for ObjectVisitor<T> {
            type Value = T;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = T::default();
                while let Some(name) = map.next_key::<&RawValue>()? {
                    match text(name).and_then(|name| members.member(&name)) {
                        Some(member) => {
                            let value: &RawValue = map.next_value()?;
                            *member = Some(value).filter(|value| value.get() != "null");
                        }
                        None => drop(map.next_value::<IgnoredAny>()?),
                    }
                }
                Ok(members)
            }
        }

        deserializer.deserialize_map(ObjectVisitor(PhantomData)).map(Object)
    }
}

/// Passes on the members of an object one by one, so a large object needs no memory.
struct EachMember<F>(F);

impl<'de, F: FnMut(&str, Option<&'de RawValue>)> DeserializeSeed<'de> for EachMember<F> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de, F: FnMut(&str, Option<&'de RawValue>)> Visitor<'de> for EachMember<F> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<(), A::Error> {
        while let Some((name, value)) = map.next_entry::<&RawValue, &RawValue>()? {
            if let Some(name) = text(name) {
                (self.0)(&name, Some(value).filter(|value| value.get() != "null"));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn raw(text: &str) -> &RawValue {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn whole_numbers_are_those_up_to_two_to_the_63rd_however_they_are_written() {
        for (text, number) in [
            ("0", Some(0)),
            ("-0", Some(0)),
            ("-0.0e5", Some(0)),
            ("0e999999999999999999999", Some(0)),
            ("0e-999999999999999999999", Some(0)),
            ("3.0", Some(3)),
            ("1e3", Some(1000)),
            ("1.5E+1", Some(15)),
            ("1500e-2", Some(15)),
            ("0.00015e5", Some(15)),
            ("9007199254740993.0", Some(9_007_199_254_740_993)),
            ("9223372036854775807", Some(i64::MAX)),
            ("922337203685477580.7e1", Some(i64::MAX)),
            ("9223372036854775808", None),
            ("9223372036854775807.5", None),
            ("9223372036854775808.0", None),
            ("99999999999999999999", None),
            ("1e19", None),
            ("1e999", None),
            ("1e999999999999999999999", None),
            ("1e-999999999999999999999", None),
            ("1.5", None),
            ("15e-1", None),
            ("-1", None),
            ("-1e0", None),
            (r#""3""#, None),
            ("true", None),
            ("[3]", None),
        ] {
            assert_eq!(whole_number(raw(text)), number, "{text}");
        }
    }

    #[test]
    fn half_of_a_surrogate_pair_is_no_text() {
        assert_eq!(text(raw(r#""\ud83d\ude00""#)).as_deref(), Some("😀"));
        for half in [r#""\ud83d""#, r#""\ud83d x""#, r#""\ude00""#, r#""\ud83d\ud83d""#, r#""\ud83d\n""#] {
            assert_eq!(text(raw(half)), None, "{half}");
        }
    }

    proptest! {
        #[test]
        fn a_text_is_what_serde_json_reads(escapes in any::<String>(), plain in r#"[a-z\\/"\u{8}\u{c}\n\r\t😀]{0,20}"#) {
            let units = |text: &str| text.encode_utf16().map(|unit| format!("\\u{unit:04x}")).collect::<String>();
            for json in [format!("\"{}\"", units(&escapes)), serde_json::to_string(&(escapes + &plain)).unwrap()] {
                let expected: String = serde_json::from_str(&json).unwrap();
                prop_assert_eq!(text(raw(&json)).unwrap(), expected);
            }
        }
    }
}
