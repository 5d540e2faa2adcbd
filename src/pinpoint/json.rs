//! Parses untrusted JSON. A value that cannot be used affects no other value.
//!
//! `serde_json` checks the syntax of each value and finds where it ends. [`Rest`] separates the elements of a list, so that
//! each is parsed once. The values in an element are parsed only on demand, and unused values are not copied. A number out of
//! range, half of a surrogate pair or a deeply nested value therefore does not break its neighbours. Text that is not UTF-8 is
//! not JSON ([RFC 8259, section 8.1]).
//!
//! [RFC 8259, section 8.1]: https://www.rfc-editor.org/rfc/rfc8259#section-8.1

use std::{borrow::Cow, fmt};

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

    /// Stores the member of that name if it is used.
    fn set(&mut self, name: &str, value: &'a RawValue) {
        if let Some(member) = self.member(name) {
            *member = not_null(value);
        }
    }
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
    let text = object_text(text)?;
    serde_json::from_str(text).map(|Object(members)| members)
}

/// Parses a whole text that is one object with a list. Sets the other members.
///
/// Passes on each element of the list as soon as it is parsed: its members, or `None` if it is not an object. After an error,
/// some elements may have been passed on.
pub(super) fn parse_list<'a, E: Members<'a>>(
    text: &'a [u8],
    list: &str,
    members: &mut impl Members<'a>,
    each: impl FnMut(Option<E>),
) -> Result<(), serde_json::Error> {
    let text = object_text(text)?;
    (Rest { text }).object_with_list(list, members, each).ok_or_else(|| match serde_json::from_str(text) {
        // It says what is wrong, and where.
        Err(error) => error,
        Ok(IgnoredAny) => {
            custom(format_args!("the member `{list}` is missing, is not a list or occurs twice"))
        }
    })
}

fn not_null(value: &RawValue) -> Option<&RawValue> {
    Some(value).filter(|value| value.get() != "null")
}

fn custom(message: impl fmt::Display) -> serde_json::Error {
    serde_json::Error::custom(message)
}

/// A text that begins like an object. An error of `serde_json` would quote an unexpected string, however long it is.
fn object_text(text: &[u8]) -> Result<&str, serde_json::Error> {
    let text = str::from_utf8(text).map_err(custom)?;
    if (Rest { text }).is_at(b'{') { Ok(text) } else { Err(custom("it is not a JSON object")) }
}

/// Parses a value that is an object.
pub(super) fn members<'a, T: Members<'a>>(value: &'a RawValue) -> Option<T> {
    parse_object(value.get().as_bytes()).ok()
}

/// Calls `each` for every member of an object, with `None` if the value is `null`. Ignores a member whose name holds half of a
/// surrogate pair. Returns `None` if the value is not an object.
pub(super) fn each_member<'a>(
    value: &'a RawValue,
    mut each: impl FnMut(&str, Option<&'a RawValue>),
) -> Option<()> {
    let mut deserializer = serde_json::Deserializer::from_str(value.get());
    EachMember(|name: &str, value| each(name, not_null(value))).deserialize(&mut deserializer).ok()
}

/// Calls `each` for the elements of an array, each parsed by [`text`]. Returns `None` if the value is not an array, or if an
/// element is not a text.
pub(super) fn each_text<'a>(value: &'a RawValue, mut each: impl FnMut(Cow<'a, str>)) -> Option<()> {
    Rest { text: value.get() }.list(|rest| {
        each(text(rest.value()?)?);
        Some(())
    })
}

/// The part of a text that is not parsed yet. Each method takes something from its start, or returns `None` if something else
/// is there.
struct Rest<'a> {
    text: &'a str,
}

impl<'a> Rest<'a> {
    /// Skips white space. It can be megabytes, so it is skipped byte by byte.
    fn skip_space(&mut self) {
        let bytes = self.text.as_bytes();
        let space = bytes.iter().take_while(|byte| matches!(byte, b' ' | b'\n' | b'\t' | b'\r')).count();
        self.text = self.text.get(space..).unwrap_or_default();
    }

    /// Skips white space. Returns whether the next byte is this one.
    fn is_at(&mut self, byte: u8) -> bool {
        self.skip_space();
        self.text.as_bytes().first() == Some(&byte)
    }

    /// Takes a byte that is not part of a value.
    fn skip(&mut self, byte: u8) -> Option<()> {
        if !self.is_at(byte) {
            return None;
        }
        self.text = self.text.get(1..)?;
        Some(())
    }

    /// Takes a value.
    fn value<T: Deserialize<'a>>(&mut self) -> Option<T> {
        let mut values = serde_json::Deserializer::from_str(self.text).into_iter();
        let value = values.next()?.ok();
        self.text = self.text.get(values.byte_offset()..)?;
        value
    }

    /// Takes the rest of an array or object after its first byte. `each` takes one of its parts.
    fn parts(&mut self, end: u8, mut each: impl FnMut(&mut Self) -> Option<()>) -> Option<()> {
        if self.skip(end).is_some() {
            return Some(());
        }
        loop {
            each(self)?;
            if self.skip(b',').is_none() {
                return self.skip(end);
            }
        }
    }

    /// Takes an array. `each` takes one of its elements.
    fn list(&mut self, each: impl FnMut(&mut Self) -> Option<()>) -> Option<()> {
        self.skip(b'[')?;
        self.parts(b']', each)
    }

    /// Takes all of a text that is an object with one list of this name.
    fn object_with_list<E: Members<'a>>(
        mut self,
        list: &str,
        members: &mut impl Members<'a>,
        mut each: impl FnMut(Option<E>),
    ) -> Option<()> {
        let mut is_listed = false;
        self.skip(b'{')?;
        self.parts(b'}', |rest| {
            let name = if rest.is_at(b'"') { text(rest.value()?) } else { return None };
            rest.skip(b':')?;
            if name.as_deref() == Some(list) {
                if is_listed {
                    return None;
                }
                is_listed = true;
                return rest.list(|rest| rest.element(&mut each));
            }
            let value = rest.value()?;
            if let Some(name) = name {
                members.set(&name, value);
            }
            Some(())
        })?;
        self.skip_space();
        (is_listed && self.text.is_empty()).then_some(())
    }

    /// Takes a value and passes on its members, or `None` if it is not an object.
    fn element<E: Members<'a>>(&mut self, each: &mut impl FnMut(Option<E>)) -> Option<()> {
        each(if self.is_at(b'{') {
            let Object(members) = self.value()?;
            Some(members)
        } else {
            let IgnoredAny = self.value()?;
            None
        });
        Some(())
    }
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
        let mut members = T::default();
        EachMember(|name: &str, value| members.set(name, value)).deserialize(deserializer)?;
        Ok(Self(members))
    }
}

/// Passes on the members of an object one by one, so a large object needs no memory.
struct EachMember<F>(F);

impl<'de, F: FnMut(&str, &'de RawValue)> DeserializeSeed<'de> for EachMember<F> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de, F: FnMut(&str, &'de RawValue)> Visitor<'de> for EachMember<F> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<(), A::Error> {
        while let Some((name, value)) = map.next_entry::<&RawValue, &RawValue>()? {
            if let Some(name) = text(name) {
                (self.0)(&name, value);
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

    object! {
        Example {
            n: "n",
        }
    }

    proptest! {
        #[test]
        fn a_list_is_parsed_if_serde_json_parses_the_whole_text(
            parts in prop::collection::vec(prop::sample::select(vec![
                "0", "-1.5e3", "01", "nul", "null", r#""a""#, r#""\ud800""#, r#""\x""#, r#"{"b":[1,{}]}"#, "{\"b\":}", "[", "[]]",
            ]), 0..4),
            separator in prop::sample::select(vec![",", " , ", " ", "", ",,", ":"]),
            begin in prop::sample::select(vec!["", "", "\"n\":1,", "\"n\" 1,", "n:1,", "1:2,", ",", "\"n\":[2]\n, "]),
            end in prop::sample::select(vec!["]}", "]}", "] ,\"n\":0\t}\r\n", "],}", ",]}", "]}}", "]", "]} x", ":]}"]),
        ) {
            let text = format!(r#"{{{begin}"list":[{}{end}"#, parts.join(separator));
            let parsed = parse_list(text.as_bytes(), "list", &mut Example::default(), |_: Option<Example>| ());
            let whole = serde_json::from_str(&text).map(|IgnoredAny| ());
            prop_assert_eq!(parsed.map_err(|it| it.to_string()), whole.map_err(|it| it.to_string()), "{}", text);
        }

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
