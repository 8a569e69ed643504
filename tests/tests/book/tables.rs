//! Tables, and what may stand in their cells.

/// A table of Markdown.
pub fn table<const N: usize>(head: [&str; N], rows: impl IntoIterator<Item = [String; N]>) -> String {
    let mut table = format!("| {} |\n|{}\n", head.join(" | "), " --- |".repeat(N));
    for row in rows {
        table += &format!("| {} |\n", row.map(|cell| one_line(&cell)).join(" | "));
    }
    table
}

/// A text in one line, without what a reader of Markdown would take for its own.
fn one_line(text: &str) -> String {
    let mut code = false;
    let mut line = String::new();
    for letter in text.split_whitespace().collect::<Vec<_>>().join(" ").chars() {
        match letter {
            '`' => {
                code = !code;
                line.push('`');
            }
            '|' => line.push_str("\\|"),
            '<' if !code => line.push_str("&lt;"),
            _ => line.push(letter),
        }
    }
    line
}

/// A text as code; nothing of nothing.
pub fn code(text: &str) -> String {
    if text.is_empty() { String::new() } else { format!("`{text}`") }
}

#[test]
fn a_cell_is_one_line() {
    let table = table(["a", "b"], [["x\n y | <z>".to_owned(), code("<w>")]]);
    assert_eq!(table, "| a | b |\n| --- | --- |\n| x y \\| &lt;z> | `<w>` |\n");
}
