//! The classifier of answers that are no success. Status and type header are on the first line, the body follows; in it `@1` to
//! `@9` stand for forms of the credentials, which must not come through. Letters after a form say how it is encoded further, one
//! after the other: `@2pz` is a secret in percent encoding that an invisible character splits.

use aws_credential_types::Credentials;
use aws_smithy_types::base64;
use pinpoint_exporter::{
    model::exception::Exception,
    pinpoint::{Class, fuzzing},
};
use serde::{Deserialize, de::IgnoredAny};
use serde_json::Value;

const ACCESS_KEY_ID: &str = "AKIAHUSHHUSH7EXAMPLE";
const SECRET: &str = "hush/wJalrXUtn+FEMI/K7MDENG/bPxRfiCYEXAMPLEKEY";
const TOKEN: &str = "hush//FQoGZXIvYXdzEJr+token==";

/// Names of AWS's that the contract lists, without the ending.
const NAMES: [&str; 21] = [
    "BadRequest",
    "InternalServerError",
    "PayloadTooLarge",
    "Forbidden",
    "NotFound",
    "MethodNotAllowed",
    "TooManyRequests",
    "AccessDenied",
    "ExpiredToken",
    "UnrecognizedClient",
    "InvalidSignature",
    "SignatureDoesNotMatch",
    "MissingAuthenticationToken",
    "IncompleteSignature",
    "RequestExpired",
    "RequestTimeTooSkewed",
    "OptInRequired",
    "UnknownOperation",
    "Throttling",
    "InternalFailure",
    "ServiceUnavailable",
];

pub(crate) fn check(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let (first, body) = text.split_once('\n').unwrap_or((&text, ""));
    let (status, header) =
        first.split_once(' ').map_or((first, None), |(status, header)| (status, Some(header)));
    let Ok(status) = status.parse::<u16>() else { return };
    let credentials = Credentials::new(ACCESS_KEY_ID, SECRET, Some(TOKEN.to_owned()), None, "fuzzing");
    let plain = fuzzing::failure(status, header, body.as_bytes(), &credentials);
    if let Some((exception, name)) = expected(status, header, body) {
        assert_eq!(plain.exception.name(), exception, "{status} {header:?} {body}");
        assert_eq!(plain.class, class(exception, name.as_deref(), status), "{status} {header:?} {body}");
    }
    assert_eq!(plain.status, Some(status));

    let forms = forms();
    let mut hidden: Vec<String> = forms.iter().map(|(_, form)| form.clone()).collect();
    let header = header.map(|header| with_secrets(header, &forms, &mut hidden));
    let body = with_secrets(body, &forms, &mut hidden);
    let failure = fuzzing::failure(status, header.as_deref(), body.as_bytes(), &credentials);
    for text in [failure.to_string(), failure.message.clone(), format!("{failure:?}")] {
        for form in &hidden {
            assert!(!text.contains(form.as_str()), "{form:?} of a secret in {text}");
        }
    }
    for message in [&plain.message, &failure.message] {
        assert!(!message.chars().any(char::is_control), "one line: {message:?}");
        assert!(message.chars().count() <= 501, "{} characters", message.chars().count());
    }
}

/// The text with its marks replaced. What a secret looks like after each encoding is added to `hidden`.
pub(crate) fn with_secrets(text: &str, forms: &[(&'static str, String)], hidden: &mut Vec<String>) -> String {
    let mut parts = text.split('@');
    let mut replaced = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let form = forms.iter().find_map(|(mark, form)| Some((form, part.strip_prefix(&mark[1..])?)));
        let Some((form, mut rest)) = form else {
            replaced.push('@');
            replaced.push_str(part);
            continue;
        };
        let mut form = form.clone();
        // Base64 and hexadecimal are looked into twice at most.
        let mut codings = 0;
        for _ in 0..5 {
            let Some((encoding, after)) = rest.split_at_checked(1) else { break };
            codings += usize::from("bx".contains(encoding));
            let encoded = if codings > 2 { None } else { encoded(&form, encoding) };
            let Some(encoded) = encoded.filter(|encoded| encoded.len() < 4096) else { break };
            (form, rest) = (encoded, after);
            hidden.push(form.clone());
        }
        replaced.push_str(&form);
        replaced.push_str(rest);
    }
    replaced
}

/// A text in one encoding.
fn encoded(text: &str, encoding: &str) -> Option<String> {
    let each = |encode: &dyn Fn(u8) -> String| text.bytes().map(encode).collect::<String>();
    Some(match encoding {
        "p" => each(&|byte| format!("%{byte:02X}")),
        "q" => text.replace('%', "%25").replace('/', "%2f").replace('+', "%2b").replace('=', "%3d"),
        "u" => text.encode_utf16().map(|unit| format!("\\u{unit:04x}")).collect(),
        "s" => text.replace('\\', "\\\\").replace('/', "\\/").replace('"', "\\\""),
        "e" => text.chars().map(|c| format!("&#x{:X};", u32::from(c))).collect(),
        "d" => {
            text.replace('&', "&amp;").replace('/', "&sol;").replace('+', "&#43;").replace('=', "&equals;")
        }
        "z" => text.chars().flat_map(|c| [c, '\u{200b}']).collect(),
        "c" => text.chars().flat_map(|c| [c, '\r']).collect(),
        "b" => base64::encode(text).trim_end_matches('=').to_owned(),
        "x" => each(&|byte| format!("{byte:02X}")),
        _ => return None,
    })
}

/// The forms in which credentials come back, made here by other means than the exporter's.
fn forms() -> Vec<(&'static str, String)> {
    let hex = |secret: &str| secret.bytes().map(|byte| format!("{byte:02x}")).collect();
    let escaped = |secret: &str| secret.replace('/', "%2F").replace('+', "%2B").replace('=', "%3D");
    vec![
        ("@1", ACCESS_KEY_ID.to_owned()),
        ("@2", SECRET.to_owned()),
        ("@3", TOKEN.to_owned()),
        ("@4", hex(SECRET)),
        ("@5", escaped(SECRET)),
        ("@6", escaped(TOKEN)),
        ("@7", TOKEN.replace('/', "%2f").replace('+', "%2b").replace('=', "%3d")),
        ("@8", "aHVzaC93SmFsclhVdG4rRkVNSS9LN01ERU5HL2JQeFJmaUNZRVhBTVBMRUtF".to_owned()),
        ("@9", hex(ACCESS_KEY_ID)),
    ]
}

/// The label and AWS's name, as the contract resolves them: header, `code`, `__type`, else the status. `None` for JSON that the
/// tree cannot hold, or with a member twice, of which the contract does not speak.
fn expected(status: u16, header: Option<&str>, body: &str) -> Option<(&'static str, Option<String>)> {
    let begins = body.trim_start().starts_with('{');
    let body: Value = match serde_json::from_str(body) {
        Ok(Value::Object(_)) if serde_json::from_str::<Once>(body).is_err() => return None,
        Ok(body) => body,
        Err(error) if begins && !error.is_eof() => return None,
        Err(_) => Value::Null,
    };
    let of_body = |member| body.get(member).and_then(Value::as_str);
    let bare = |name: &str| {
        let before = &name[..name.find(':').unwrap_or(name.len())];
        before[before.find('#').map_or(0, |at| at + 1)..].trim().to_owned()
    };
    let name = [header, of_body("code"), of_body("__type")].into_iter().flatten().map(bare);
    let Some(name) = name.into_iter().find(|name| !name.is_empty()) else {
        let label = match status {
            400 => "BadRequestException",
            403 => "ForbiddenException",
            404 => "NotFoundException",
            405 => "MethodNotAllowedException",
            413 => "PayloadTooLargeException",
            429 => "TooManyRequestsException",
            503 => "ServiceUnavailableException",
            500..600 => "InternalServerErrorException",
            _ => "Other",
        };
        return Some((label, None));
    };
    let stem = NAMES.iter().find(|stem| name == **stem || name == format!("{stem}Exception"));
    let label = stem.map_or("Other", |stem| {
        let names = Exception::ALL.iter().map(|exception| exception.name());
        names.into_iter().find(|label| label.starts_with(stem)).expect("the list has every name")
    });
    Some((label, Some(name)))
}

/// The members that are looked at, each there once.
#[derive(Deserialize)]
#[expect(dead_code, reason = "only whether it can be read counts")]
struct Once {
    code: Option<IgnoredAny>,
    __type: Option<IgnoredAny>,
    message: Option<IgnoredAny>,
    #[serde(rename = "Message")]
    message_capital: Option<IgnoredAny>,
}

/// Whether another attempt is worth while, by AWS's documentation of the standard retry mode.
fn class(label: &str, name: Option<&str>, status: u16) -> Class {
    const THROTTLING: &str = "Throttling ThrottlingException ThrottledException RequestThrottledException \
        TooManyRequestsException ProvisionedThroughputExceededException TransactionInProgressException RequestLimitExceeded \
        BandwidthLimitExceeded LimitExceededException RequestThrottled SlowDown PriorRequestNotComplete EC2ThrottledException";
    if label == "ExpiredTokenException" {
        return Class::ExpiredCredentials;
    }
    let throttled = name.is_some_and(|name| THROTTLING.split_whitespace().any(|known| known == name));
    if throttled || matches!(label, "TooManyRequestsException" | "ThrottlingException") {
        return Class::Throttled;
    }
    let timeout = matches!(name, Some("RequestTimeout" | "RequestTimeoutException"));
    let server =
        matches!(label, "InternalServerErrorException" | "InternalFailure" | "ServiceUnavailableException");
    if timeout || server || (500..600).contains(&status) { Class::Transient } else { Class::Final }
}
