//! The grammar of `TARGETS`. The first line is the configured region, or empty; the rest is the list.

use std::collections::BTreeSet;

use pinpoint_exporter::model::target::{Entry, Error, IdPattern, TargetPattern, parse, parse_with_file};

/// Every entry is a pattern or an error; what was read can be written and read again; no job is shown twice.
pub(crate) fn check(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let (region, list) = text.split_once('\n').unwrap_or(("", &text));
    let region = is_region(region).then_some(region);
    let parsed = parse(list, region);
    assert_eq!(parsed, parse(list, region), "the same text is the same list");

    let entries: BTreeSet<_> =
        list.split(|c: char| c == ',' || c.is_whitespace()).filter(|entry| !entry.is_empty()).collect();
    assert_eq!(entries.is_empty(), parsed.errors.contains(&Error::Empty));
    for error in &parsed.errors {
        assert!(error.entry().is_none_or(|entry| entries.contains(entry.text.as_str())), "{error:?}");
        assert!(!error.to_string().is_empty());
    }
    let has_arn = |entry: &str| entry.get(..4).is_some_and(|scheme| scheme.eq_ignore_ascii_case("arn:"));
    for entry in &entries {
        let alone = parse(entry, region);
        let malformed = alone.errors.iter().any(|error| matches!(error, Error::Malformed { .. }));
        let known = parsed.errors.contains(&Error::Malformed {
            entry: Entry { text: (*entry).to_owned(), line: None },
            reason: alone.errors.first().map(ToString::to_string).unwrap_or_default(),
        });
        assert_eq!(malformed, known, "{entry:?} is wrong in a list if it is wrong alone");
        assert_eq!(alone.patterns.len(), usize::from(!malformed), "{entry:?}");
        assert!(alone.patterns.keys().all(|pattern| parsed.patterns.contains_key(pattern)), "{entry:?}");
        assert_eq!(alone.without_region.is_some(), !malformed && !has_arn(entry) && region.is_none());
    }
    assert!(parsed.patterns.len() <= entries.len());

    for (pattern, entry) in &parsed.patterns {
        assert!(entries.contains(entry.text.as_str()));
        sound(pattern);
        let written = written(pattern);
        let again =
            parse(&written, Some(&pattern.region).filter(|region| !region.is_empty()).map(String::as_str));
        assert_eq!(again.patterns.keys().collect::<Vec<_>>(), [pattern], "{written}");
        assert!(again.errors.is_empty(), "{written}: {:?}", again.errors);
    }
    let mixed = || parsed.errors.iter().any(|error| matches!(error, Error::Mixed { .. }));
    let both = |with_arn| {
        entries.iter().any(|entry| {
            has_arn(entry) == with_arn
                && parse(entry, region).patterns.keys().any(|pattern| Some(pattern.region.as_str()) == region)
        })
    };
    assert_eq!(mixed(), both(true) && both(false), "an account could be meant twice");
    one_reading(&parsed.patterns.keys().collect::<Vec<_>>(), &parsed.errors);

    in_a_file(list, region);

    let reversed: Vec<_> = entries.iter().rev().copied().collect();
    let reversed = parse(&reversed.join("\t"), region);
    assert!(reversed.patterns.keys().eq(parsed.patterns.keys()), "the order of the text does not matter");
}

/// A file is read as the same list without its comments, and says in which line an entry is.
fn in_a_file(file: &str, region: Option<&str>) {
    let parsed = parse_with_file("", file, region);
    let file = file.strip_prefix('\u{feff}').unwrap_or(file);
    let lines: Vec<_> =
        file.lines().map(|line| line.split_once('#').map_or(line, |(entries, _)| entries)).collect();
    let as_list = parse(&lines.join("\n"), region);
    assert!(parsed.patterns.keys().eq(as_list.patterns.keys()));
    assert_eq!(parsed.errors.len(), as_list.errors.len());
    let of_errors = parsed.errors.iter().filter_map(Error::entry);
    for Entry { text, line } in parsed.patterns.values().chain(of_errors).chain(&parsed.without_region) {
        let line = lines[line.expect("it is in a line") - 1];
        assert!(line.contains(text.as_str()), "{text:?} is not in {line:?}");
    }
}

/// What a pattern may hold.
fn sound(pattern: &TargetPattern) {
    let arn = !pattern.account_id.is_empty();
    assert!(is_region(&pattern.region) || !arn, "{pattern:?}");
    assert!(!arn || pattern.account_id.len() == 12 && pattern.account_id.bytes().all(|b| b.is_ascii_digit()));
    for id in [Some(&pattern.application), pattern.segment.as_ref()].into_iter().flatten() {
        if let IdPattern::Id(id) = id {
            assert!(!matches!(id.as_str(), "" | "." | ".."), "{pattern:?}");
        }
    }
    let any_of_one = pattern.application.covers_all() && matches!(pattern.segment, Some(IdPattern::Id(_)));
    assert!(!any_of_one, "{pattern:?}");
}

/// A pattern as its user would write it, an ARN where it has an account.
fn written(pattern: &TargetPattern) -> String {
    if pattern.account_id.is_empty() {
        return pattern.to_string();
    }
    let TargetPattern { account_id, region, application, segment } = pattern;
    let segment = segment.as_ref().map(|segment| format!("/segments/{segment}")).unwrap_or_default();
    format!("arn:aws:mobiletargeting:{region}:{account_id}:apps/{application}{segment}")
}

/// A pattern that reads applications whole is an error exactly if another reads one of them by segment.
fn one_reading(patterns: &[&TargetPattern], errors: &[Error]) {
    let overlap = |whole: &TargetPattern, other: &TargetPattern| {
        let same_place = (&whole.account_id, &whole.region) == (&other.account_id, &other.region);
        let same_application = whole.application == other.application
            || whole.application.covers_all()
            || other.application.covers_all();
        other.segment.is_some() && same_place && same_application
    };
    let twice = patterns
        .iter()
        .filter(|whole| whole.segment.is_none() && patterns.iter().any(|other| overlap(whole, other)))
        .count();
    let named = errors.iter().filter(|error| matches!(error, Error::ReadTwice { .. })).count();
    assert_eq!(twice, named, "{errors:?}");
}

/// A label of a host name, as regions are.
pub(crate) fn is_region(text: &str) -> bool {
    let inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    (1..64).contains(&text.len()) && text.chars().all(inner) && !text.starts_with('-') && !text.ends_with('-')
}
