//! `kubectl arcane completion`, and what kubectl asks a plugin's completion for.

use clap::{ArgAction, Command, CommandFactory as _};
use clap_complete::{Shell as Known, generate};

use crate::args::{Args, Shell};

/// The script of a shell. It completes `kubectl-arcane`; for `kubectl arcane`, kubectl asks [`candidates`].
pub fn script(shell: Shell) -> String {
    let known = match shell {
        Shell::Bash => Known::Bash,
        Shell::Zsh => Known::Zsh,
        Shell::Fish => Known::Fish,
    };
    let mut script = Vec::new();
    generate(known, &mut Args::command(), "kubectl-arcane", &mut script);
    String::from_utf8_lossy(&script).into_owned()
}

/// What may follow some words, in the form that kubectl reads from an executable `kubectl_complete-arcane`: a candidate a
/// line, with a tab and a description, and at last `:4`, which keeps the shell from offering files.
pub fn candidates(words: &[String]) -> String {
    let mut root = Args::command();
    root.build();
    let (last, before) = words.split_last().map_or(("", &[][..]), |(last, before)| (last.as_str(), before));
    let mut command = &root;
    let mut value_of: Option<&clap::Arg> = None;
    for word in before {
        let flag = flag(command, word);
        value_of = flag.filter(|flag| takes_a_value(flag) && !word.contains('='));
        if flag.is_none()
            && let Some(below) = command.get_subcommands().find(|below| below.get_name() == word)
        {
            command = below;
        }
    }
    let mut lines: Vec<String> = Vec::new();
    if let Some(flag) = value_of {
        lines.extend(flag.get_possible_values().iter().map(|value| value.get_name().to_owned()));
    } else if last.starts_with('-') {
        for flag in command.get_arguments().filter(|flag| !flag.is_hide_set()) {
            let help = flag.get_help().map(|help| help.to_string()).unwrap_or_default();
            lines.extend(flag.get_long().map(|long| format!("--{long}\t{}", first(&help))));
        }
    } else {
        let shown = command.get_subcommands().filter(|below| !below.is_hide_set());
        lines.extend(shown.map(|below| {
            let about = below.get_about().map(|about| about.to_string()).unwrap_or_default();
            format!("{}\t{}", below.get_name(), first(&about))
        }));
        let values = command.get_positionals().flat_map(clap::Arg::get_possible_values);
        lines.extend(values.map(|value| value.get_name().to_owned()));
    }
    lines.retain(|line| line.starts_with(last));
    let files = value_of.is_some_and(|flag| {
        flag.get_value_names().iter().flat_map(|names| names.iter()).any(|name| name.contains("FILE"))
    });
    lines.push(if files { ":0" } else { ":4" }.to_owned());
    lines.join("\n")
}

fn flag<'c>(command: &'c Command, word: &str) -> Option<&'c clap::Arg> {
    let word = word.split('=').next().unwrap_or_default();
    command.get_arguments().find(|flag| {
        word.strip_prefix("--").is_some_and(|long| flag.get_long() == Some(long))
            || word.strip_prefix('-').is_some_and(|short| short.chars().eq(flag.get_short()))
    })
}

fn takes_a_value(flag: &clap::Arg) -> bool {
    matches!(flag.get_action(), ArgAction::Set | ArgAction::Append)
}

fn first(text: &str) -> &str {
    text.lines().next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offered(words: &[&str]) -> Vec<String> {
        let words: Vec<String> = words.iter().map(|&word| word.to_owned()).collect();
        let text = candidates(&words);
        text.lines().map(|line| line.split('\t').next().unwrap_or_default().to_owned()).collect()
    }

    #[test]
    fn each_shell_has_its_script() {
        for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
            assert!(script(shell).contains("backfill"), "{shell:?}");
        }
    }

    #[test]
    fn kubectl_is_told_what_may_follow() {
        assert_eq!(offered(&["su"]), ["suspend", ":4"]);
        assert_eq!(offered(&["-n", "data", "back"]), ["backfill", "backfills", ":4"]);
        assert_eq!(offered(&["downtime", ""]), ["begin", "list", "end", "help", ":4"]);
        assert_eq!(offered(&["validate", "-o", ""]), ["text", "json", "sarif", "junit", ":4"]);
        assert_eq!(offered(&["validate", "-f", ""]), [":0"], "files");
        assert!(offered(&["backfill", "orders", "--"]).contains(&"--wait".to_owned()));
        assert!(!offered(&[""]).contains(&"__complete".to_owned()));
    }
}
