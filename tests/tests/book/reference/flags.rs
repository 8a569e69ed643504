//! Flags, and their twins in the environment, from the command lines themselves.

use clap::{Command, CommandFactory as _};

use crate::tables::{code, table};

pub fn page() -> String {
    let mut page = "# Flags and environment\n\n\
        Each flag has a twin in the environment; the flag counts where both are set. Besides these both processes read `KUBECONFIG`, \
        where they don't run in a cluster, and `RUST_LOG`, where `--log` isn't set. The chart sets them by its values; more by \
        `extraArgs`, `webhook.extraArgs`, `extraEnv` and `webhook.extraEnv`.\n"
        .to_owned();
    for command in [arcane_controller::args::Args::command(), arcane_webhook::args::Args::command()] {
        let about = command.get_long_about().or(command.get_about()).map(ToString::to_string).unwrap_or_default();
        page += &format!("\n## {}\n\n{}\n\n", command.get_name(), paragraphs(&about));
        page += &table(["flag", "environment", "default", "what it does"], rows(&command));
        let subcommands: Vec<_> = command
            .get_subcommands()
            .map(|sub| {
                let about = sub.get_about().map(ToString::to_string).unwrap_or_default();
                [code(&format!("{} {}", command.get_name(), sub.get_name())), about]
            })
            .collect();
        if !subcommands.is_empty() {
            page.push('\n');
            page += &table(["command", "what it does"], subcommands);
        }
    }
    page
}

/// Paragraphs, each in one line.
fn paragraphs(text: &str) -> String {
    text.split("\n\n").map(|paragraph| paragraph.replace('\n', " ")).collect::<Vec<_>>().join("\n\n")
}

fn rows(command: &Command) -> Vec<[String; 4]> {
    let flags =
        command.get_arguments().filter(|flag| flag.get_long().is_some_and(|long| !["help", "version"].contains(&long)));
    flags
        .map(|flag| {
            let long = flag.get_long().unwrap();
            let value = flag.get_value_names().and_then(|names| names.first()).map(|name| name.to_string());
            let shown = value.map_or(format!("--{long}"), |value| format!("--{long} {value}"));
            let environment = flag.get_env().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
            let defaults: Vec<String> =
                flag.get_default_values().iter().map(|value| value.to_string_lossy().into_owned()).collect();
            let help = flag.get_long_help().or(flag.get_help()).map(ToString::to_string).unwrap_or_default();
            [code(&shown), code(&environment), code(&defaults.join(", ")), help]
        })
        .collect()
}
