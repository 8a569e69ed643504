//! JUnit XML: each object is a test case.

use super::{Finding, Level, Object, Place};

pub(super) fn of(findings: &[Finding], judged: &[(Place, Object)]) -> String {
    let mut cases: Vec<(&Place, Option<&Object>)> =
        judged.iter().map(|(place, object)| (place, Some(object))).collect();
    // What can't be read is no object, but a failure all the same.
    for finding in findings.iter().filter(|finding| finding.object.is_none()) {
        cases.push((&finding.place, None));
    }
    cases.sort_by_key(|(place, _)| *place);
    let about = |place: &Place, object: Option<&Object>, level: Level| {
        findings
            .iter()
            .filter(|finding| finding.place == *place && finding.object.as_ref() == object && finding.level == level)
            .collect::<Vec<_>>()
    };
    let (mut failures, mut errors, mut body) = (0, 0, String::new());
    for (place, object) in &cases {
        let name = object.map_or_else(|| place.to_string(), ToString::to_string);
        body.push_str(&format!(
            "    <testcase classname=\"{}\" name=\"{}\" file=\"{}\" line=\"{}\">\n",
            escaped(&place.file),
            escaped(&name),
            escaped(&place.file),
            place.line
        ));
        let wrong = about(place, *object, Level::Error);
        failures += usize::from(!wrong.is_empty());
        for finding in wrong {
            body.push_str(&element("failure", finding));
        }
        let unknown = about(place, *object, Level::Unknown);
        errors += usize::from(!unknown.is_empty());
        for finding in unknown {
            body.push_str(&element("error", finding));
        }
        let warnings: Vec<String> = about(place, *object, Level::Warning)
            .iter()
            .map(|finding| format!("warning: {}", finding.message))
            .collect();
        if !warnings.is_empty() {
            body.push_str(&format!("      <system-out>{}</system-out>\n", escaped(&warnings.join("\n"))));
        }
        body.push_str("    </testcase>\n");
    }
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites>\n  <testsuite name=\"kubectl arcane validate\" \
         tests=\"{}\" failures=\"{failures}\" errors=\"{errors}\">\n{body}  </testsuite>\n</testsuites>\n",
        cases.len()
    )
}

fn element(name: &str, finding: &Finding) -> String {
    let message = escaped(&finding.message);
    format!(
        "      <{name} type=\"{}\" message=\"{message}\">{}: {message}</{name}>\n",
        finding.rule,
        escaped(&finding.place.to_string())
    )
}

/// A text within XML, which has no room for most control characters.
fn escaped(text: &str) -> String {
    let mut escaped = String::new();
    for letter in text.chars() {
        match letter {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&apos;"),
            '\n' => escaped.push_str("&#10;"),
            '\t' => escaped.push_str("&#9;"),
            '\u{FFFE}' | '\u{FFFF}' => escaped.push('\u{FFFD}'),
            letter if letter.is_control() => escaped.push('\u{FFFD}'),
            letter => escaped.push(letter),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    #[test]
    fn whatever_stands_in_a_manifest_is_no_xml() {
        assert_eq!(super::escaped("<a b=\"&'\u{1b}\">"), "&lt;a b=&quot;&amp;&apos;\u{FFFD}&quot;&gt;");
    }
}
