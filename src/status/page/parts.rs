//! Renders the cells of the page's tables: names, dates, numbers and states.

use maud::{Markup, html};

use crate::{
    model::{
        exception::Exception,
        job_status::JobStatus,
        list_id::ListId,
        overview::{CallError, LastRead},
        target::Target,
        timestamp::Timestamp,
    },
    status::{
        age::{from_now, rfc3339, short, utc},
        query::Query,
        view::RowNames,
    },
};

pub(super) const RUNBOOKS: &str =
    "https://github.com/pinpoint-exporter/pinpoint-exporter/blob/main/deploy/runbooks";

/// The most characters of a name that are shown.
const MAX_NAME_CHARACTERS: usize = 80;
/// The longest link in bytes. A longer one is left out, since it would hardly fit into the head of a request.
const MAX_LINK_BYTES: usize = 4096;

/// A table cell. On a narrow screen, its label appears before the content.
pub(super) fn cell(label: &str, content: impl maud::Render) -> Markup {
    html! { td data-label=(label) { div { (content) } } }
}

/// A cell for an id, wide enough for AWS's ids.
pub(super) fn id_cell(label: &str, content: impl maud::Render) -> Markup {
    html! { td.id data-label=(label) { div { (content) } } }
}

/// A cell with short content that does not wrap.
pub(super) fn short_cell(label: &str, content: impl maud::Render) -> Markup {
    html! { td.short data-label=(label) { div { (content) } } }
}

pub(super) fn number_cell(label: &str, content: impl maud::Render) -> Markup {
    html! { td.number data-label=(label) { div { (content) } } }
}

/// Renders ids as links that filter the page by them.
#[derive(Clone, Copy)]
pub(super) struct Ids<'a> {
    pub(super) query: &'a Query,
    /// Whether to show the account and region, because there are several.
    pub(super) with_account_and_region: bool,
}

impl Ids<'_> {
    pub(super) fn segment(self, target: &Target, segment_id: &str, names: RowNames<'_>) -> Markup {
        html! {
            (self.account_and_region(&target.account_id, &target.region))
            small {
                @if let Some(application) = shown(names.application, &target.application_id) {
                    (name(application)) " "
                }
                (name(&target.application_id))
            }
            br;
            (self.link(&target.application_id, Some(segment_id), names.segment))
        }
    }

    pub(super) fn target(self, target: &Target, names: RowNames<'_>) -> Markup {
        html! {
            @match &target.segment_id {
                Some(id) => { (self.segment(target, id, names)) }
                None => {
                    (self.account_and_region(&target.account_id, &target.region))
                    small { "whole application" } br;
                    (self.link(&target.application_id, None, names.application))
                }
            }
        }
    }

    pub(super) fn list(self, list_id: &ListId, application_name: Option<&str>) -> Markup {
        html! {
            (self.account_and_region(&list_id.account_id, &list_id.region))
            @match &list_id.application_id {
                Some(id) => { small { "segments of" } br; (self.link(id, None, application_name)) }
                None => { "applications" }
            }
        }
    }

    fn account_and_region(self, account_id: &str, region: &str) -> Markup {
        html! { @if self.with_account_and_region { small { (account_and_region(account_id, region)) } br; } }
    }

    /// A link to an application or segment. It shows the name with the id below, or only the id if there is no name.
    fn link(self, application_id: &str, segment_id: Option<&str>, its_name: Option<&str>) -> Markup {
        let link = self.query.link(|it| {
            it.application = Some(application_id.to_owned());
            it.segment = segment_id.map(str::to_owned);
        });
        let id = segment_id.unwrap_or(application_id);
        let its_name = shown(its_name, id);
        let text = match its_name {
            Some(text) => name(text),
            None if id.is_empty() => html! { "all endpoints" },
            None => name(id),
        };
        html! {
            @if link.len() <= MAX_LINK_BYTES { a href=(link) { (text) } } @else { (text) }
            @if its_name.is_some() { br; small { (name(id)) } }
        }
    }
}

/// The name, if it adds something to the id.
fn shown<'a>(name: Option<&'a str>, id: &str) -> Option<&'a str> {
    name.filter(|name| !name.is_empty() && *name != id)
}

pub(super) fn account_and_region(account_id: &str, region: &str) -> Markup {
    html! { @if !account_id.is_empty() { (name(account_id)) " " } (name(region)) }
}

pub(super) fn status(status: JobStatus) -> Markup {
    let class = match status {
        JobStatus::Completed => "good",
        JobStatus::Failed | JobStatus::Failing => "bad",
        JobStatus::Cancelled => "cancelled",
        JobStatus::Unknown => "unknown",
        _ => "active",
    };
    html! {
        span.state.(class) {
            // On a narrow screen, a long status breaks after an underscore.
            @for (at, word) in status.as_str().split('_').enumerate() { @if at > 0 { "_" wbr; } (word) }
        }
    }
}

/// The result of the last read. An error comes with a link to its runbook.
pub(super) fn outcome(
    reading: Option<&LastRead>,
    last_error: Option<&CallError>,
    good: &str,
    runbook: &'static str,
) -> Markup {
    match (reading, last_error) {
        (None, _) => html! { span.state.unknown { "not read yet" } },
        (Some(_), None) => html! { span.state.good { (good) } },
        (Some(reading), Some(error)) => html! {
            (error_text(error))
            @let runbook = if reading.error.is_none() { DATA_STALE } else { runbook_of(error.exception).unwrap_or(runbook) };
            " " a.runbook href={ (RUNBOOKS) "/" (runbook) ".md" } { "Runbook" }
        },
    }
}

/// The text matches the `Display` of the error.
fn error_text(error: &CallError) -> Markup {
    html! {
        span.state.bad { (error.exception.name()) } ": " (visible(&error.message))
        @if let Some(id) = &error.request_id { " (request " (name(id)) ")" }
    }
}

/// The names of runbooks, which are those of their alerts.
pub(super) const TARGET_DOWN: &str = "PinpointTargetDown";
pub(super) const DISCOVERY_FAILING: &str = "PinpointDiscoveryFailing";
const DATA_STALE: &str = "PinpointDataStale";

/// The runbook for an error, if one exists for its kind.
fn runbook_of(exception: Exception) -> Option<&'static str> {
    match exception {
        Exception::AccessDeniedException | Exception::ForbiddenException => Some("PinpointAccessDenied"),
        Exception::CredentialsError
        | Exception::ExpiredTokenException
        | Exception::UnrecognizedClientException
        | Exception::InvalidSignatureException
        | Exception::SignatureDoesNotMatch
        | Exception::MissingAuthenticationTokenException
        | Exception::IncompleteSignatureException => Some("PinpointCredentialsFailing"),
        Exception::NotFoundException => Some("PinpointSegmentNotFound"),
        Exception::TooManyRequestsException | Exception::ThrottlingException => Some("PinpointThrottled"),
        _ => None,
    }
}

/// When a scrape reads the item again.
pub(super) fn next(reading: Option<&LastRead>, now: Timestamp) -> String {
    match reading {
        Some(reading) if reading.next > now => from_now(reading.next, now),
        _ => "with the next scrape".to_owned(),
    }
}

/// How long the last read took.
pub(super) fn took(reading: Option<&LastRead>) -> String {
    reading.map_or_else(|| "-".to_owned(), |reading| short(reading.took))
}

/// A date and its age.
pub(super) fn date(date: Option<Timestamp>, now: Timestamp) -> Markup {
    html! {
        @match date.and_then(|date| Some((date, utc(date)?, rfc3339(date)?))) {
            Some((date, text, exact)) => { time datetime=(exact) { (text) } " " small { (from_now(date, now)) } }
            None => { "-" }
        }
    }
}

/// A number with thousands separators, or `-`.
pub(super) fn number(number: Option<impl itoa::Integer>) -> String {
    let mut buffer = itoa::Buffer::new();
    let Some(text) = number.map(|number| buffer.format(number)) else { return "-".to_owned() };
    let (sign, digits) = text.strip_prefix('-').map_or(("", text), |digits| ("-", digits));
    let mut shown = sign.to_owned();
    for (at, digit) in digits.char_indices() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            shown.push(',');
        }
        shown.push(digit);
    }
    shown
}

/// A name from outside. `bdi` keeps its text direction from affecting the text beside it. Invisible characters are escaped, and
/// long names are shortened.
pub(super) fn name(text: &str) -> Markup {
    match text.char_indices().nth(MAX_NAME_CHARACTERS) {
        None => html! { bdi { (visible(text)) } },
        Some((end, _)) => html! {
            bdi { (visible(&text[..end])) "…" } " " small { "(" (text.chars().count()) " characters)" }
        },
    }
}

/// A text in full. A long text is folded.
pub(super) fn folded(text: &str) -> Markup {
    html! {
        @if text.chars().nth(MAX_NAME_CHARACTERS).is_none() { (name(text)) }
        @else { details { summary { (name(text)) } bdi { (visible(text)) } } }
    }
}

/// Escapes characters that are invisible or change the direction of text. A text of only whitespace is invisible, so it is
/// escaped too.
pub(super) fn visible(text: &str) -> String {
    if text.chars().all(char::is_whitespace) {
        return text.chars().map(|c| c.escape_unicode().to_string()).collect();
    }
    let hidden = |c: char| {
        c.is_control()
            || matches!(
                c,
                '\u{ad}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{180e}' | '\u{200b}'..='\u{200f}'
            )
            || matches!(c, '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}')
            || matches!(c, '\u{feff}' | '\u{ffa0}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e0fff}')
    };
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        if hidden(c) { shown.extend(c.escape_unicode()) } else { shown.push(c) }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands_are_apart() {
        for (value, expected) in [
            (0_i64, "0"),
            (-7, "-7"),
            (999, "999"),
            (1_000, "1,000"),
            (-123_456, "-123,456"),
            (i64::MIN, "-9,223,372,036,854,775,808"),
        ] {
            assert_eq!(number(Some(value)), expected);
        }
        assert_eq!(number(None::<i64>), "-");
    }

    #[test]
    fn what_cannot_be_seen_is_written_out() {
        assert_eq!(
            visible("a\u{202e}b\u{200b}\u{0}\n\u{e0041}é日"),
            "a\\u{202e}b\\u{200b}\\u{0}\\u{a}\\u{e0041}é日"
        );
        assert_eq!(visible(" \u{a0}"), "\\u{20}\\u{a0}");
        assert_eq!(visible(" a "), " a ");
        assert_eq!(visible(""), "");
    }

    #[test]
    fn every_runbook_that_an_error_leads_to_exists() {
        let of_exceptions = Exception::ALL.iter().filter_map(|exception| runbook_of(*exception));
        for name in of_exceptions.chain([TARGET_DOWN, DISCOVERY_FAILING, DATA_STALE]) {
            let file = format!("{}/deploy/runbooks/{name}.md", env!("CARGO_MANIFEST_DIR"));
            assert!(std::path::Path::new(&file).exists(), "{file}");
        }
    }
}
