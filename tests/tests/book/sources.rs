//! As much of Rust as it takes to find the texts in a source file.

/// The string literals of a source, without those of its tests and comments.
pub fn literals(source: &str) -> Vec<String> {
    let source = source.split("#[cfg(test)]").next().unwrap_or_default();
    let mut found = Vec::new();
    let mut rest = source;
    while let Some(at) = rest.find(['"', '/', '\'', 'r']) {
        let (before, here) = rest.split_at(at);
        let is_word = before.chars().next_back().is_some_and(|letter| letter.is_alphanumeric() || letter == '_');
        rest = if here.starts_with("//") {
            here.find('\n').map_or("", |end| &here[end..])
        } else if let Some(begun) = here.strip_prefix('"') {
            let end = end_of_text(begun);
            found.push(begun[..end].to_owned());
            &begun[end + 1..]
        } else if let Some(marks) = marks_of_raw_text(here).filter(|_| !is_word) {
            let close = format!("\"{}", "#".repeat(marks));
            let begun = &here[marks + 2..];
            let end = begun.find(&close).unwrap_or_else(|| panic!("a text has no end: {begun:.60}"));
            found.push(begun[..end].to_owned());
            &begun[end + close.len()..]
        } else if let Some(begun) = here.strip_prefix("'\\") {
            // A letter; what isn't one is a lifetime.
            &begun[1..]
        } else if let Some(after) = here.strip_prefix("'\"'") {
            after
        } else {
            &here[1..]
        };
    }
    found
}

fn end_of_text(begun: &str) -> usize {
    let mut escaped = false;
    for (at, letter) in begun.char_indices() {
        match letter {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return at,
            _ => {}
        }
    }
    panic!("a text has no end: {begun:.60}")
}

/// How many marks are around a raw text that begins here.
fn marks_of_raw_text(here: &str) -> Option<usize> {
    let marked = here.strip_prefix('r')?;
    let marks = marked.chars().take_while(|letter| *letter == '#').count();
    marked[marks..].starts_with('"').then_some(marks)
}

/// The constants of a source that are texts: comment, name, value.
pub fn constants(source: &str) -> Vec<(String, String, String)> {
    let mut found = Vec::new();
    let mut comment: Vec<&str> = Vec::new();
    let lines: Vec<&str> = source.lines().map(str::trim).collect();
    for (index, line) in lines.iter().enumerate() {
        if let Some(said) = line.strip_prefix("///") {
            comment.push(said.trim());
            continue;
        }
        let declared = line.strip_prefix("pub const ").and_then(|line| line.split_once(": "));
        if let Some((name, rest)) = declared {
            // The value may stand in the next line.
            let rest = if rest.ends_with('=') { lines.get(index + 1).copied().unwrap_or_default() } else { rest };
            if let Some((_, value)) = rest.split_once('"')
                && rest.ends_with(';')
            {
                let value = value.trim_end_matches(';').trim_end_matches('"');
                found.push((comment.join(" "), name.to_owned(), value.to_owned()));
            }
        }
        comment.clear();
    }
    found
}

#[test]
fn texts_are_found_and_nothing_else() {
    let source = r##"
        // "not this"
        const A: &str = "one \"quoted\""; fn f<'a>(x: &'a str) -> char { '"' }
        let b = r#"two "three""#; let c = '\''; for x in y {} "four"
        #[cfg(test)]
        mod tests { const B: &str = "nor this"; }
    "##;
    assert_eq!(literals(source), ["one \\\"quoted\\\"", "two \"three\"", "four"]);
}

#[test]
fn constants_have_their_comments() {
    let source = "/// A label: what\n/// it is.\npub const LABEL: &str = \"a/b\";\n\n/// No text.\npub const N: usize = 1;\n/// Far.\n    pub const FAR: &'static str =\n        \"c/d\";\n";
    let owned = |a: &str, b: &str, c: &str| (a.to_owned(), b.to_owned(), c.to_owned());
    assert_eq!(constants(source), [owned("A label: what it is.", "LABEL", "a/b"), owned("Far.", "FAR", "c/d")]);
}
