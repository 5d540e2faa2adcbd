//! Parses values of settings: durations, counts, booleans, words, addresses. An error says what is wrong and what to write
//! instead.

use std::{
    net::{IpAddr, Ipv6Addr, SocketAddr},
    time::Duration,
};

use humantime::format_duration;

use crate::model::duration::duration;

/// Why a value is refused, and what to write instead.
pub(crate) type Explanation = String;

/// The maximum of a number. A larger one is a mistake, and semaphores and capacities must be able to hold it.
const MAX_NUMBER: u32 = 1_000_000;

/// Parses a timeout. Zero is refused, because nothing could finish within it.
pub(super) fn timeout(text: &str) -> Result<Duration, Explanation> {
    match duration(text)? {
        Duration::ZERO => {
            Err("a timeout of 0s would make every request fail; write one above 0s, such as 5s".into())
        }
        timeout => Ok(timeout),
    }
}

/// Parses a whole number, including 0.
pub(crate) fn number(text: &str) -> Result<u32, Explanation> {
    let wrong = || format!("this is not a whole number; write one from 0 to {MAX_NUMBER}");
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(wrong());
    }
    match text.parse() {
        Ok(number) if number <= MAX_NUMBER => Ok(number),
        _ => Err(format!("the number is too large; write one of at most {MAX_NUMBER}")),
    }
}

/// Parses a whole number of at least 1.
pub(super) fn count(text: &str) -> Result<u32, Explanation> {
    match number(text) {
        Ok(0) => Err("0 is too small; write a whole number of at least 1".into()),
        Ok(count) => Ok(count),
        Err(explanation) => Err(explanation.replace("from 0 to", "from 1 to")),
    }
}

/// Parses a whole number. 0 means no limit.
pub(super) fn number_or_unlimited(text: &str) -> Result<Option<u32>, Explanation> {
    number(text).map(|number| (number != 0).then_some(number))
}

pub(super) fn boolean(text: &str) -> Result<bool, Explanation> {
    word(text, &[("true", true), ("false", false)])
}

/// Parses one of a few words, ignoring case.
pub(super) fn word<T: Copy>(text: &str, words: &[(&str, T)]) -> Result<T, Explanation> {
    if let Some((_, value)) = words.iter().find(|(word, _)| word.eq_ignore_ascii_case(text)) {
        return Ok(*value);
    }
    let names: Vec<_> = words.iter().map(|(word, _)| *word).collect();
    Err(format!("this is not one of its values; write {}", names.join(" or ")))
}

pub(super) fn socket_address(text: &str) -> Result<SocketAddr, Explanation> {
    if let Ok(address) = text.parse() {
        return Ok(address);
    }
    if let Ok(address) = text.trim_matches(['[', ']']).parse::<IpAddr>() {
        // `:::9787` also parses as an IPv6 address, so the message covers both mistakes.
        return Err(format!(
            "the port is missing; write {} (an address of IPv6 goes in brackets)",
            SocketAddr::new(address, 9787)
        ));
    }
    let Some((host, port)) = text.rsplit_once(':') else {
        return Err(if text.bytes().all(|byte| byte.is_ascii_digit()) {
            format!("the address is missing; write 0.0.0.0:{text}")
        } else {
            "this is not an IP address with a port; write one such as 0.0.0.0:9787 or [::]:9787".into()
        });
    };
    let Ok(port) = port.parse::<u16>() else {
        return Err(format!("{port:?} is not a valid port; write one from 1 to 65535, as in 0.0.0.0:9787"));
    };
    if host.is_empty() {
        return Err(format!("the address is missing; write 0.0.0.0:{port}, or [::]:{port} for IPv6 too"));
    }
    if host.parse::<Ipv6Addr>().is_ok() {
        return Err(format!("an address of IPv6 goes in brackets; write [{host}]:{port}"));
    }
    Err(format!(
        "{host:?} is not an IP address, and host names are not resolved; write one such as 127.0.0.1:{port} or 0.0.0.0:{port}"
    ))
}

/// Formats a duration as in settings.
pub(super) fn shown(duration: Duration) -> String {
    format_duration(duration).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_in_every_unit_and_compound() {
        for (text, milliseconds) in [
            ("0s", 0),
            ("500ms", 500),
            ("1.5s", 1500),
            ("30s", 30_000),
            ("5m", 300_000),
            ("1h30m", 5_400_000),
            ("1h 30m", 5_400_000),
            ("7d", 604_800_000),
            ("36500d", 3_153_600_000_000),
        ] {
            assert_eq!(duration(text), Ok(Duration::from_millis(milliseconds)), "{text}");
        }
    }

    #[test]
    fn durations_that_are_none_are_refused_with_the_cure() {
        for (text, cure) in [
            ("30", "write 30s"),
            ("-5s", "negative"),
            ("5x", "\"x\" is not a unit"),
            ("5 minuets", "\"minuets\" is not a unit"),
            ("5M", "write m for minutes"),
            ("1h5M", "write m for minutes"),
            ("36501d", "too long"),
            ("99999999999999999999s", "too long"),
            ("18446744073709551615d", "too long"),
            ("abc", "this is not a valid duration"),
            ("+5s", "this is not a valid duration"),
            ("", "this is not a valid duration"),
        ] {
            let explanation = duration(text).unwrap_err();
            assert!(explanation.contains(cure), "{text}: {explanation}");
        }
    }

    #[test]
    fn an_address_that_lacks_a_part_is_answered_with_the_whole() {
        for (text, cure) in [
            (":9787", "0.0.0.0:9787"),
            ("9787", "0.0.0.0:9787"),
            ("0.0.0.0", "0.0.0.0:9787"),
            ("::", "[::]:9787"),
            ("[::]", "[::]:9787"),
            ("::1:98765", "not a valid port"),
            ("fe80::1%eth0:9787", "not an IP address"),
            ("localhost:9787", "127.0.0.1:9787"),
            ("0.0.0.0:65536", "not a valid port"),
            ("0.0.0.0:", "not a valid port"),
            ("localhost", "not an IP address with a port"),
        ] {
            let explanation = socket_address(text).unwrap_err();
            assert!(explanation.contains(cure), "{text}: {explanation}");
        }
        for text in ["0.0.0.0:9787", "[::]:9787", "127.0.0.1:0", "[::1]:65535"] {
            assert_eq!(socket_address(text).unwrap().to_string(), text);
        }
    }
}
