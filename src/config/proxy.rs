//! Selects the proxy for a request from `HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY` and `NO_PROXY`, as curl does. Values only.

use std::{fmt, net::IpAddr};

use url::{Host, Url};

/// The variables, each in both spellings. As in curl, the lower-case spelling takes precedence.
pub const VARIABLES: [&str; 8] = [
    "https_proxy",
    "HTTPS_PROXY",
    "http_proxy",
    "HTTP_PROXY",
    "all_proxy",
    "ALL_PROXY",
    "no_proxy",
    "NO_PROXY",
];

/// The schemes that the HTTP client supports.
const SCHEMES: [&str; 6] = ["http", "https", "socks5", "socks5h", "socks4", "socks4a"];

/// The configured proxies.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Proxies {
    https: Option<Url>,
    http: Option<Url>,
    exceptions: Vec<Exception>,
}

impl fmt::Debug for Proxies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The URLs may contain passwords.
        f.debug_struct("Proxies").field("exceptions", &self.exceptions).finish_non_exhaustive()
    }
}

/// An entry of `NO_PROXY`.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Exception {
    hosts: Hosts,
    /// The only port to which the entry applies. `None` for every port.
    port: Option<u16>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Hosts {
    All,
    /// The addresses that share this number of leading bits.
    Network(IpAddr, u8),
    /// A host and its subdomains.
    Domain(String),
}

impl Proxies {
    /// Reads the variables. `value` returns their trimmed values, or `None` for an empty one. `wrong` is called with each
    /// invalid variable, its value, and the error.
    pub fn read<'a>(
        value: impl Fn(&str) -> Option<&'a str>,
        mut wrong: impl FnMut(&'static str, &'a str, String),
    ) -> Self {
        let mut first = |names: [usize; 2]| {
            let mut found = None;
            for name in names.map(|at| VARIABLES[at]) {
                if let Some(text) = value(name) {
                    match proxy_url(text) {
                        Ok(url) => found = found.or(Some(url)),
                        Err(why) => wrong(name, text, why),
                    }
                }
            }
            found
        };
        let (https, http, all) = (first([0, 1]), first([2, 3]), first([4, 5]));
        let exceptions = value(VARIABLES[6]).or_else(|| value(VARIABLES[7])).unwrap_or_default();
        Self {
            https: https.or_else(|| all.clone()),
            http: http.or(all),
            exceptions: exceptions
                .split(|c: char| c == ',' || c.is_whitespace())
                .filter_map(Exception::parse)
                .collect(),
        }
    }

    /// The proxy for a URL. `None` means a direct connection.
    pub fn of(&self, url: &Url) -> Option<&Url> {
        let proxy = if url.scheme() == "https" { &self.https } else { &self.http };
        proxy.as_ref().filter(|_| !self.exceptions.iter().any(|exception| exception.holds(url)))
    }
}

/// Parses the URL of a proxy. The default scheme is `http`.
fn proxy_url(text: &str) -> Result<Url, String> {
    const CURE: &str = "write one such as http://proxy.example.com:3128";
    if text.starts_with(['"', '\'']) {
        return Err(format!("it is in quotes; remove them, and {CURE}"));
    }
    if text.contains(|c: char| c.is_whitespace() || c.is_control()) {
        return Err("it has white space in it; in a user name or password write %20 for a blank".into());
    }
    let with_scheme = if text.contains("://") { text.to_owned() } else { format!("http://{text}") };
    let url =
        Url::parse(&with_scheme).map_err(|error| format!("this is not a valid URL ({error}); {CURE}"))?;
    if !SCHEMES.contains(&url.scheme()) {
        return Err(format!("its scheme is not one of {}; {CURE}", SCHEMES.join(", ")));
    }
    if url.host_str().is_none_or(str::is_empty) {
        return Err(format!("it has no host; {CURE}"));
    }
    Ok(url)
}

impl Exception {
    /// Returns `None` for an entry that exempts nothing, such as an invalid one.
    fn parse(entry: &str) -> Option<Self> {
        if entry == "*" {
            return Some(Self { hosts: Hosts::All, port: None });
        }
        if let Some(network) = network(entry) {
            return Some(Self { hosts: network, port: None });
        }
        let (host, port) = match entry.rsplit_once(':') {
            Some((host, port)) => (host, Some(port.parse().ok()?)),
            None => (entry, None),
        };
        let hosts = network(host).or_else(|| {
            let name = host.trim_matches('.').to_lowercase();
            (!name.is_empty()).then_some(Hosts::Domain(name))
        })?;
        Some(Self { hosts, port })
    }

    fn holds(&self, url: &Url) -> bool {
        let is_port = self.port.is_none_or(|port| url.port_or_known_default() == Some(port));
        let is_host = match (&self.hosts, url.host()) {
            (Hosts::All, _) => true,
            (Hosts::Network(network, bits), Some(Host::Ipv4(address))) => {
                shares(*network, address.into(), *bits)
            }
            (Hosts::Network(network, bits), Some(Host::Ipv6(address))) => {
                shares(*network, address.into(), *bits)
            }
            (Hosts::Domain(domain), Some(Host::Domain(host))) => {
                let host = host.trim_end_matches('.');
                host.strip_suffix(domain.as_str())
                    .is_some_and(|before| before.is_empty() || before.ends_with('.'))
            }
            _ => false,
        };
        is_port && is_host
    }
}

/// Parses an address, with or without brackets, or a network such as `10.0.0.0/8`.
fn network(text: &str) -> Option<Hosts> {
    let (address, bits) = match text.split_once('/') {
        Some((address, bits)) => (address, Some(bits.parse().ok()?)),
        None => (text, None),
    };
    let address: IpAddr = address.trim_start_matches('[').trim_end_matches(']').parse().ok()?;
    let longest = if address.is_ipv4() { 32 } else { 128 };
    let bits = bits.unwrap_or(longest);
    (bits <= longest).then_some(Hosts::Network(address, bits))
}

fn shares(network: IpAddr, address: IpAddr, bits: u8) -> bool {
    let (one, other, width) = match (network, address) {
        (IpAddr::V4(one), IpAddr::V4(other)) => (u128::from(one.to_bits()), u128::from(other.to_bits()), 32),
        (IpAddr::V6(one), IpAddr::V6(other)) => (one.to_bits(), other.to_bits(), 128),
        _ => return false,
    };
    (one ^ other).checked_shr(width - u32::from(bits)).unwrap_or(0) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(variables: &[(&'static str, &'static str)]) -> (Proxies, Vec<String>) {
        let mut problems = Vec::new();
        let value = |name: &str| variables.iter().find(|(it, _)| *it == name).map(|(_, value)| *value);
        let proxies = Proxies::read(value, |name, _, why| problems.push(format!("{name}: {why}")));
        (proxies, problems)
    }

    fn of(variables: &[(&'static str, &'static str)], url: &str) -> Option<String> {
        let (proxies, problems) = read(variables);
        assert_eq!(problems, [""; 0]);
        proxies.of(&Url::parse(url).unwrap()).map(ToString::to_string)
    }

    #[test]
    fn the_variable_of_the_scheme_goes_before_the_general_one_and_lower_case_first() {
        let all = [
            ("https_proxy", "lower:1"),
            ("HTTPS_PROXY", "http://upper:1"),
            ("HTTP_PROXY", "https://plain"),
            ("ALL_PROXY", "socks5://all"),
        ];
        assert_eq!(of(&all, "https://a").as_deref(), Some("http://lower:1/"));
        assert_eq!(of(&all[1..], "https://a").as_deref(), Some("http://upper:1/"));
        assert_eq!(of(&all, "http://a").as_deref(), Some("https://plain/"));
        assert_eq!(of(&all[3..], "http://a").as_deref(), Some("socks5://all"));
        assert_eq!(of(&all[2..3], "https://a"), None);
    }

    #[test]
    fn a_proxy_that_is_none_is_refused_with_the_cure() {
        for (text, why) in [
            ("\"http://proxy:1\"", "remove them"),
            ("htttp://proxy:1", "its scheme is not one of"),
            ("http://user:a b@proxy", "write %20"),
            ("http://", "not a valid URL"),
            ("http://proxy:99999", "not a valid URL"),
            ("ftp://proxy", "its scheme is not one of"),
        ] {
            let (_, problems) = read(&[("HTTPS_PROXY", text)]);
            assert!(problems.len() == 1 && problems[0].contains(why), "{text}: {problems:?}");
        }
    }

    #[test]
    fn no_proxy_exempts_what_it_exempts_for_curl() {
        for (no_proxy, url, is_exempted) in [
            ("*", "https://a.b", true),
            ("a.b", "https://a.b", true),
            (".a.b", "https://x.a.b", true),
            (".a.b", "https://a.b", true),
            ("a.b.", "https://A.B", true),
            ("a.b", "https://a.b./", true),
            ("a.b", "https://xa.b", false),
            ("x,  a.b\ty", "https://a.b", true),
            ("a.b:443", "https://a.b", true),
            ("a.b:443", "https://a.b:8443", false),
            ("a.b:x", "https://a.b", false),
            ("127.0.0.1", "http://127.0.0.1:9", true),
            ("127.0.0.1:9", "http://127.0.0.1:9", true),
            ("127.0.0.1:8", "http://127.0.0.1:9", false),
            ("10.0.0.0/8", "http://10.1.2.3", true),
            ("10.0.0.0/8", "http://11.1.2.3", false),
            ("10.0.0.0/33", "http://10.1.2.3", false),
            ("0.0.0.0/0", "http://10.1.2.3", true),
            ("0.0.0.0/0", "http://a.b", false),
            ("[::1]", "http://[::1]:9", true),
            ("::1", "http://[::1]:9", true),
            ("[::1]:9", "http://[::1]:9", true),
            ("[::1]:8", "http://[::1]:9", false),
            ("fd00::/8", "http://[fd12::1]", true),
            ("::/0", "http://[fd12::1]", true),
            (",, .", "http://a.b", false),
        ] {
            let variables = [("ALL_PROXY", "http://proxy:1"), ("no_proxy", no_proxy)];
            assert_eq!(of(&variables, url).is_none(), is_exempted, "{no_proxy} and {url}");
        }
    }
}
