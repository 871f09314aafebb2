//! Reads Envoy's matchers of headers and query parameters.

use super::text;
use crate::config::{fields::Fields, report::Reported};
use tollgate_core::actions::{HeaderMatchSpec, HeaderTest, QueryMatchSpec, QueryTest, TextMatchSpec};

pub(in crate::config) fn header_match(fields: &mut Fields<'_>) -> Result<HeaderMatchSpec, Reported> {
    let name = text(fields, "name");
    let (present, exact) = (fields.optional_flag("present_match"), fields.text("exact_match"));
    let range = fields.map("range_match", |fields| {
        let (start, end) = (fields.integer("start"), fields.integer("end"));
        Ok(HeaderTest::Range { start: start?.unwrap_or(0), end: end?.unwrap_or(0) })
    });
    let matched = fields.map("string_match", text_match);
    let older = older_text_matches(fields);
    let (invert, missing) = (fields.flag("invert_match"), fields.flag("treat_missing_header_as_empty"));
    let tests = [
        present?.map(HeaderTest::Present),
        exact?.map(HeaderTest::ExactMatch),
        range?,
        matched?.map(HeaderTest::Text),
    ];
    let older = older?.into_iter().map(HeaderTest::Text);
    let test = one_test(fields, tests.into_iter().flatten().chain(older))?;
    Ok(HeaderMatchSpec {
        name: name?,
        test: test.unwrap_or(HeaderTest::Present(true)),
        invert_match: invert?,
        treat_missing_header_as_empty: missing?,
    })
}

/// The fields that Envoy had before `string_match`, and still reads.
fn older_text_matches(fields: &mut Fields<'_>) -> Result<Vec<TextMatchSpec>, Reported> {
    let texts = [fields.text("prefix_match"), fields.text("suffix_match"), fields.text("contains_match")];
    let pattern = fields.map("safe_regex_match", regex);
    let [prefix, suffix, contains] = texts;
    let ignore_case = false;
    let found = [
        prefix?.map(|text| TextMatchSpec::Prefix { text, ignore_case }),
        suffix?.map(|text| TextMatchSpec::Suffix { text, ignore_case }),
        contains?.map(|text| TextMatchSpec::Contains { text, ignore_case }),
        pattern?.map(TextMatchSpec::Regex),
    ];
    Ok(found.into_iter().flatten().collect())
}

pub(in crate::config) fn query_match(fields: &mut Fields<'_>) -> Result<QueryMatchSpec, Reported> {
    let (name, present) = (text(fields, "name"), fields.optional_flag("present_match"));
    let matched = fields.map("string_match", text_match);
    let tests = [present?.map(QueryTest::Present), matched?.map(QueryTest::Text)];
    let test = one_test(fields, tests.into_iter().flatten())?;
    Ok(QueryMatchSpec { name: name?, test: test.unwrap_or(QueryTest::Present(true)) })
}

fn text_match(fields: &mut Fields<'_>) -> Result<TextMatchSpec, Reported> {
    let texts = [fields.text("exact"), fields.text("prefix"), fields.text("suffix"), fields.text("contains")];
    let pattern = fields.map("safe_regex", regex);
    let ignore_case = fields.flag("ignore_case");
    let ([exact, prefix, suffix, contains], pattern, ignore_case) = (texts, pattern?, ignore_case?);
    let tests = [
        exact?.map(|text| TextMatchSpec::Exact { text, ignore_case }),
        prefix?.map(|text| TextMatchSpec::Prefix { text, ignore_case }),
        suffix?.map(|text| TextMatchSpec::Suffix { text, ignore_case }),
        contains?.map(|text| TextMatchSpec::Contains { text, ignore_case }),
        pattern.map(TextMatchSpec::Regex),
    ];
    let test = one_test(fields, tests.into_iter().flatten())?;
    test.ok_or_else(|| {
        let at = fields.at();
        fields.refuse(at, format_args!("one of exact, prefix, suffix, contains and safe_regex is missing"))
    })
}

fn regex(fields: &mut Fields<'_>) -> Result<String, Reported> {
    // The only engine that Envoy has; older files name it.
    let engine = fields.map("google_re2", |_| Ok(()));
    let regex = fields.required_text("regex");
    engine?;
    regex
}

fn one_test<T>(fields: &mut Fields<'_>, mut tests: impl Iterator<Item = T>) -> Result<Option<T>, Reported> {
    let (test, second) = (tests.next(), tests.next());
    if second.is_some() {
        let at = fields.at();
        return Err(fields.refuse(at, format_args!("only one way to match is allowed in each item")));
    }
    Ok(test)
}
