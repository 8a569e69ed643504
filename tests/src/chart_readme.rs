//! The table of values in the chart's README, made from `values.yaml` and its comments.

use std::fmt::Write as _;

use serde_json::Value;

/// Below these a person writes what Kubernetes knows: one row for all of it.
const WHOLE: [&str; 3] = ["resources", "podSecurityContext", "containerSecurityContext"];

/// The table, for the text of a values file.
///
/// # Errors
/// When it is no YAML.
pub fn table(values: &str) -> Result<String, String> {
    let parsed: Value = serde_saphyr::from_str(values).map_err(|error| error.to_string())?;
    let mut table = "| value | default | what it does |\n| --- | --- | --- |\n".to_owned();
    let mut path: Vec<(usize, String)> = Vec::new();
    let mut comment: Option<String> = None;
    for line in values.lines() {
        let text = line.trim_start();
        let indent = line.len() - text.len();
        if let Some(begun) = text.strip_prefix("# -- ") {
            comment = Some(begun.to_owned());
            continue;
        }
        if let Some(more) = text.strip_prefix("# ") {
            comment = comment.map(|comment| format!("{comment} {more}"));
            continue;
        }
        let Some((name, rest)) = text.split_once(':').filter(|(name, _)| !name.contains([' ', '"', '-'])) else {
            comment = None;
            continue;
        };
        path.retain(|(of, _)| *of < indent);
        let is_below_a_whole = path.iter().any(|(_, above)| WHOLE.contains(&above.as_str()));
        path.push((indent, name.to_owned()));
        let said = comment.take().unwrap_or_default();
        if is_below_a_whole {
            continue;
        }
        let full: Vec<&str> = path.iter().map(|(_, name)| name.as_str()).collect();
        let default = parsed.pointer(&format!("/{}", full.join("/"))).unwrap_or(&Value::Null);
        let default = match rest.trim().strip_prefix('*') {
            Some(_) => "as `rbac.clusterRole.jobEditor`".to_owned(),
            None if default.as_object().is_some_and(|it| !it.is_empty()) && !WHOLE.contains(&name) => String::new(),
            None => format!("`{default}`"),
        };
        if default.is_empty() && said.is_empty() {
            continue;
        }
        // Writing to a String doesn't fail.
        let _ = writeln!(table, "| `{}` | {default} | {} |", full.join("."), said.replace('|', "\\|"));
    }
    Ok(table)
}

/// What stands before and after the table in a README.
pub const BEGIN: &str = "<!-- values: made by make generate -->\n";
/// See [`BEGIN`].
pub const END: &str = "<!-- end of values -->\n";

/// A README with a new table in the place of the old one.
///
/// # Errors
/// When there is no place for it.
pub fn with_table(readme: &str, table: &str) -> Result<String, String> {
    let (before, rest) = readme.split_once(BEGIN).ok_or("the README has no line for the beginning of the table")?;
    let (_, after) = rest.split_once(END).ok_or("the README has no line for the end of the table")?;
    Ok(format!("{before}{BEGIN}{table}{END}{after}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_has_path_default_and_comment() {
        let values = "# not of any value\n\n# -- An image:\n# of ours.\nimage:\n  tag: \"\"\n  # -- When?\n  pull: Always\nresources:\n  limits: {a: 1}\n";
        let table = table(values).unwrap();
        let rows: Vec<&str> = table.lines().skip(2).collect();
        let expected = [
            "| `image` |  | An image: of ours. |",
            "| `image.tag` | `\"\"` |  |",
            "| `image.pull` | `\"Always\"` | When? |",
            "| `resources` | `{\"limits\":{\"a\":1}}` |  |",
        ];
        assert_eq!(rows, expected);
    }
}
