//! Reads JSON that may hold anything. A value that cannot be used costs nothing but itself.
//!
//! `serde_json` checks the syntax of a text and finds where each value ends, but each value is read only on demand.
//! So a number out of range, half of a surrogate pair or a deeply nested value does no harm to its neighbours, and nothing is
//! copied that is not used. A text that is not UTF-8 is no JSON ([RFC 8259, section 8.1]).
//!
//! [RFC 8259, section 8.1]: https://www.rfc-editor.org/rfc/rfc8259#section-8.1

use std::{borrow::Cow, fmt, iter, marker::PhantomData};

use serde::{
    Deserialize, Deserializer,
    de::{DeserializeSeed, Error as _, IgnoredAny, MapAccess, Visitor},
};
use serde_json::value::RawValue;

/// The members of an object that are used, each as the JSON text of its value. A member that is `null` is absent. If a member
/// occurs twice, the later one counts.
pub(super) trait Members<'a>: Default {
    /// Where the member of that name goes.
    fn member(&mut self, name: &str) -> Option<&mut Option<&'a RawValue>>;
}

/// Declares an object with the names of its members.
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

/// Reads a whole text that is one object.
pub(super) fn parse_object<'a, T: Members<'a>>(text: &'a [u8]) -> Result<T, serde_json::Error> {
    let text = str::from_utf8(text).map_err(serde_json::Error::custom)?;
    // An error of `serde_json` quotes a string that it does not expect, however long it is.
    if !from_next_value(text).starts_with('{') {
        return Err(serde_json::Error::custom("it is not a JSON object"));
    }
    serde_json::from_str(text).map(|Object(members)| members)
}

/// Reads a value that is an object.
pub(super) fn members<'a, T: Members<'a>>(value: &'a RawValue) -> Option<T> {
    parse_object(value.get().as_bytes()).ok()
}

/// Hands every member of a value that is an object to `each`, whatever its name: `None` for one that is `null`, which is absent.
/// One whose name holds half of a surrogate pair is ignored. Returns `None` if the value is no object.
pub(super) fn each_member<'a>(
    value: &'a RawValue,
    each: impl FnMut(&str, Option<&'a RawValue>),
) -> Option<()> {
    let mut deserializer = serde_json::Deserializer::from_str(value.get());
    EachMember(each).deserialize(&mut deserializer).ok()
}

/// The elements of a value that is an array: the members of those that are objects, and `None` for the others.
pub(super) fn objects<'a, T: Members<'a>>(value: &'a RawValue) -> Option<impl Iterator<Item = Option<T>>> {
    elements(value, |rest| {
        if rest.starts_with('{') {
            take(rest).map(|Object(members)| Some(members))
        } else {
            take(rest).map(|IgnoredAny| None)
        }
    })
}

/// The elements of a value that is an array, as [`text`] reads them.
pub(super) fn texts(value: &RawValue) -> Option<impl Iterator<Item = Option<Cow<'_, str>>>> {
    elements(value, |rest| take(rest).map(text))
}

/// The text without what stands between the values of an array. It may be megabytes, so it is skipped byte by byte.
fn from_next_value(text: &str) -> &str {
    let bytes = text.as_bytes();
    let mut at = 0;
    while matches!(bytes.get(at), Some(b' ' | b'\n' | b'\t' | b'\r' | b',')) {
        at += 1;
    }
    text.get(at..).unwrap_or_default()
}

/// Reads the elements of an array one by one, as they are asked for. `read` takes one from the beginning of the text.
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

/// Takes the first value of a text that is well-formed.
fn take<'a, T: Deserialize<'a>>(rest: &mut &'a str) -> Option<T> {
    let mut values = serde_json::Deserializer::from_str(rest).into_iter();
    let value = values.next()?.ok();
    *rest = rest.get(values.byte_offset()..)?;
    value
}

/// The text of a value that is a string. One that holds half of a surrogate pair is no text.
pub(super) fn text(value: &RawValue) -> Option<Cow<'_, str>> {
    let quoted = value.get().strip_prefix('"')?.strip_suffix('"')?;
    if quoted.contains('\\') { unescaped(quoted).map(Cow::Owned) } else { Some(Cow::Borrowed(quoted)) }
}

/// Replaces the escapes of a string, in one allocation of its length. The buffer of `serde_json` grows by doubling, to three
/// times the text.
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

/// The character that follows `\u`: one code unit of UTF-16, or two.
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

/// A value that is a whole number from 0 to 2^63 - 1, however it is written: `3.0` and `1e3` are whole too.
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
    // How many of the digits stand before the point once the exponent has moved it.
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
    // A number other than 0 is out of range after at most 19 rounds.
    while number != 0 && at < point {
        number = number.checked_mul(10)?;
        at += 1;
    }
    (number == 0 || !is_negative).then_some(number)
}

/// An object's members.
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

/// Hands on an object's members one by one, so that an object of many costs no memory.
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
