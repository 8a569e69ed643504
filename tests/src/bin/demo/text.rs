//! How things are written: pure functions over text.

use std::time::Duration;

/// The words of a command line, as a shell would give them to the program. It knows quotes, nothing else.
pub fn words(command: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    for c in command.chars() {
        match quote {
            Some(open) if c == open => quote = None,
            Some(_) => word.get_or_insert_default().push(c),
            None if c == '\'' || c == '"' => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            None if c.is_whitespace() => words.extend(word.take()),
            None => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    words
}

/// A command line as the lines that a person would type: broken before flags, with a backslash.
pub fn command_lines(command: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for part in parts(command) {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + part.chars().count() + 2 <= width => {
                line.push(' ');
                line.push_str(&part);
            }
            Some(line) => {
                line.push_str(" \\");
                lines.push(format!("  {part}"));
            }
            None => lines.push(part),
        }
    }
    lines
}

/// What is not to be torn apart: the command with its first words, and each flag with its value.
fn parts(command: &str) -> Vec<String> {
    let mut parts = vec![String::new()];
    let mut quote = None;
    let mut before = ' ';
    for c in command.chars() {
        match quote {
            Some(open) if c == open => quote = None,
            None if c == '\'' || c == '"' => quote = Some(c),
            None if c == '-' && before == ' ' => parts.push(String::new()),
            _ => {}
        }
        if let Some(part) = parts.last_mut() {
            part.push(c);
        }
        before = c;
    }
    parts.into_iter().map(|part| part.trim().to_owned()).filter(|part| !part.is_empty()).collect()
}

/// Text in lines of at most `width` characters, but for words that are longer.
pub fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= width => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

/// A table of kubectl without some of its columns. The last column is wrapped, so that no line is longer than `width`.
pub fn table_without(table: &str, unwanted: &[&str], width: usize) -> Vec<String> {
    let mut lines = table.lines();
    let Some(header) = lines.next() else { return Vec::new() };
    let starts = column_starts(header);
    let kept: Vec<usize> =
        (0..starts.len()).filter(|&column| !unwanted.contains(&cell(header, &starts, column).as_str())).collect();
    let Some((&last, others)) = kept.split_last() else { return Vec::new() };
    let mut printed = Vec::new();
    let rows: Vec<&str> = std::iter::once(header).chain(lines).collect();
    let widths: Vec<usize> = others
        .iter()
        .map(|&column| rows.iter().map(|row| cell(row, &starts, column).chars().count()).max().unwrap_or_default())
        .collect();
    for row in rows {
        let mut line = String::new();
        for (&column, &wide) in others.iter().zip(&widths) {
            line += &format!("{:wide$}   ", cell(row, &starts, column));
        }
        let hanging = line.chars().count();
        let mut rest = wrapped(&cell(row, &starts, last), width.saturating_sub(hanging)).into_iter();
        line += &rest.next().unwrap_or_default();
        printed.push(line.trim_end().to_owned());
        printed.extend(rest.map(|more| " ".repeat(hanging) + &more));
    }
    printed
}

/// Where the columns start: kubectl puts at least two spaces between them, and one within "LAST SEEN".
fn column_starts(header: &str) -> Vec<usize> {
    let characters: Vec<char> = header.chars().collect();
    let starts = |&at: &usize| characters[at] != ' ' && (at < 2 || characters[at - 2..at] == [' ', ' ']);
    (0..characters.len()).filter(starts).filter(|&at| at != 1).collect()
}

fn cell(row: &str, starts: &[usize], column: usize) -> String {
    let from = starts[column];
    let length = starts.get(column + 1).map_or(usize::MAX, |next| next - from);
    row.chars().skip(from).take(length).collect::<String>().trim_end().to_owned()
}

/// A label and, at the right, how long it took: together `width` wide.
pub fn with_time(label: &str, time: &str, width: usize) -> (String, String) {
    let gap = width.saturating_sub(label.chars().count() + time.chars().count()).max(2);
    (label.to_owned(), " ".repeat(gap) + time)
}

/// A duration for a person: tenths of a second where it is watched, else whole seconds, so that two runs read alike.
pub fn seconds(took: Duration, exactly: bool) -> String {
    match took.as_millis().div_ceil(1000) {
        _ if exactly => format!("{:.1} s", took.as_secs_f64()),
        0 | 1 => "<1 s".to_owned(),
        whole => format!("{whole} s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_those_of_a_shell() {
        assert_eq!(
            words(r#"kubectl patch x -p '{"a": true}' --from="b c"d ''"#),
            ["kubectl", "patch", "x", "-p", r#"{"a": true}"#, "--from=b cd", ""]
        );
    }

    #[test]
    fn a_long_command_is_broken_before_its_flags() {
        let command = r#"kubectl patch streams orders -n ns --type merge -p '{"spec": {"a": -1}}'"#;
        assert_eq!(command_lines(command, 100), [command]);
        assert_eq!(
            command_lines(command, 40),
            [r"kubectl patch streams orders -n ns \", r"  --type merge \", r#"  -p '{"spec": {"a": -1}}'"#]
        );
        for width in 1..100 {
            let typed = command_lines(command, width).join("\n").replace("\\\n", "");
            assert_eq!(words(&typed), words(command), "width {width}");
        }
    }

    #[test]
    fn a_table_loses_columns_and_stays_aligned() {
        let table = "NAME     STATUS     DURATION   AGE\norders   Running    1s         1s\na        Complete   <none>     12d\n";
        assert_eq!(
            table_without(table, &["AGE", "DURATION"], 80),
            ["NAME     STATUS", "orders   Running", "a        Complete"]
        );
        assert_eq!(
            table_without(table, &["STATUS"], 80),
            ["NAME     DURATION   AGE", "orders   1s         1s", "a        <none>     12d"]
        );
    }

    #[test]
    fn a_gap_left_by_a_long_cell_that_went_is_closed() {
        let table = "NAME    PHASE\na-b-c   X\n";
        assert_eq!(table_without(table, &["PHASE"], 80), ["NAME", "a-b-c"]);
        assert_eq!(table_without(table, &["NAME"], 80), ["PHASE", "X"]);
    }

    #[test]
    fn a_column_may_have_a_space_in_its_name_and_the_last_one_is_wrapped() {
        let table = "LAST SEEN   TYPE      MESSAGE\n1s          Warning   there is no such thing\n";
        assert_eq!(
            table_without(table, &["LAST SEEN"], 25),
            ["TYPE      MESSAGE", "Warning   there is no", "          such thing"]
        );
    }

    #[test]
    fn what_is_no_table_is_no_trouble() {
        assert!(table_without("", &["AGE"], 80).is_empty());
        assert!(table_without("AGE\n1s\n", &["AGE"], 80).is_empty());
        assert_eq!(table_without("NAME   AGE\n", &["AGE"], 80), ["NAME"]);
        assert_eq!(table_without("NAME   AGE\nx\n", &["NAME"], 80), ["AGE", ""]);
    }

    #[test]
    fn words_longer_than_the_line_stay_whole() {
        assert_eq!(wrapped("one two three", 7), ["one two", "three"]);
        assert_eq!(wrapped("incomprehensible", 7), ["incomprehensible"]);
        assert!(wrapped(" ", 7).is_empty());
    }

    #[test]
    fn times_stand_at_the_right() {
        let (label, time) = with_time("done", "3 s", 12);
        assert_eq!(label + &time, "done     3 s");
        let (label, time) = with_time("a long label", "3 s", 12);
        assert_eq!(label + &time, "a long label  3 s");
    }

    #[test]
    fn seconds_are_rounded_up_where_nobody_watches() {
        let said = |millis, exactly| seconds(Duration::from_millis(millis), exactly);
        assert_eq!([said(40, true), said(1260, true)], ["0.0 s", "1.3 s"]);
        assert_eq!(
            [said(40, false), said(1000, false), said(1001, false), said(9100, false)],
            ["<1 s", "<1 s", "2 s", "10 s"]
        );
    }
}
