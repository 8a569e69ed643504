//! The command line.

use std::path::PathBuf;

use clap::{ArgAction, Parser, Subcommand, ValueEnum};

/// Sees, explains and repairs Arcane streams, with your own kubeconfig and rights.
///
/// STREAM is a stream's name, or KIND/NAME where two kinds have one of that name.
/// Exit codes: 0 all is well; 1 no (findings, a failed backfill, no such
/// stream, a refused change); 2 wrong usage, or something could not be asked.
#[derive(Clone, Debug, Parser)]
#[command(name = "kubectl-arcane", bin_name = "kubectl arcane", version, max_term_width = 100)]
pub struct Args {
    /// Which cluster, and where in it.
    #[command(flatten)]
    pub cluster: ClusterArgs,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// Which cluster, and where in it: the flags of kubectl.
#[derive(Clone, Debug, Default, clap::Args)]
#[command(next_help_heading = "Cluster")]
pub struct ClusterArgs {
    /// The kubeconfig [default: KUBECONFIG, else ~/.kube/config].
    #[arg(long, global = true, value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,

    /// The context of the kubeconfig [default: its current one].
    #[arg(long, global = true, value_name = "CONTEXT")]
    pub context: Option<String>,

    /// The cluster of the kubeconfig, instead of the context's.
    #[arg(long, global = true, value_name = "CLUSTER")]
    pub cluster: Option<String>,

    /// The user of the kubeconfig, instead of the context's.
    #[arg(long, global = true, value_name = "USER")]
    pub user: Option<String>,

    /// Whom to impersonate.
    #[arg(long = "as", global = true, value_name = "USER")]
    pub impersonate: Option<String>,

    /// A group to impersonate; may be given several times.
    #[arg(long = "as-group", global = true, value_name = "GROUP", requires = "impersonate", action = ArgAction::Append)]
    pub impersonate_groups: Vec<String>,

    /// The namespace [default: the context's].
    #[arg(short, long, global = true, value_name = "NAMESPACE", conflicts_with = "all_namespaces")]
    pub namespace: Option<String>,

    /// Look into all namespaces.
    #[arg(short = 'A', long, global = true)]
    pub all_namespaces: bool,
}

/// What can be done.
#[derive(Clone, Debug, Subcommand)]
pub enum Command {
    /// Show streams: phase, since when, Job, last backfill, what is wrong. Of one stream: all that hangs together.
    Status(StatusArgs),
    /// Stop streams: their Jobs end within seconds, their definitions stay.
    Suspend(SelectionArgs),
    /// Let suspended streams go on.
    Resume(SelectionArgs),
    /// Ask for a backfill of a stream, by creating a BackfillRequest.
    Backfill(BackfillArgs),
    /// Show the backfills of a stream, the newest first.
    Backfills(BackfillsArgs),
    /// Restart streams, also those that have failed.
    Restart(SelectionArgs),
    /// Explain a stream: what is wrong, since when, what to do.
    Explain(ExplainArgs),
    /// Print the log of a stream's newest pod.
    Logs(LogsArgs),
    /// Compare the Job that would be made now with the one that runs: exit code 1 where they differ.
    Diff(DiffArgs),
    /// Let streams stand still for a time, under one name.
    #[command(subcommand)]
    Downtime(Downtime),
    /// Look whether Arcane itself is well: definitions, controller, webhook, certificates, rights, stuck objects.
    Doctor(DoctorArgs),
    /// Print a script that completes this command line, for your shell to read.
    Completion(CompletionArgs),
    /// What kubectl asks for completion.
    #[command(name = "__complete", hide = true)]
    Complete(CompleteArgs),
    /// Judge manifests by the webhook's own rules, as a whole, before anybody applies them.
    Validate(ValidateArgs),
}

/// How objects are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// A table with more columns.
    Wide,
    /// For machines.
    Json,
    /// For machines.
    Yaml,
}

/// `status`.
#[derive(Clone, Debug, clap::Args)]
pub struct StatusArgs {
    /// One stream, as a tree: class, templates, requests, Jobs, pods.
    #[arg(value_name = "STREAM")]
    pub stream: Option<String>,

    /// Only streams with these labels, e.g. team=orders.
    #[arg(short = 'l', long, value_name = "LABELS")]
    pub selector: Option<String>,

    /// Only streams of this StreamClass.
    #[arg(long, value_name = "CLASS")]
    pub class: Option<String>,

    /// How to print [default: a table].
    #[arg(short, long, value_enum, value_name = "FORMAT")]
    pub output: Option<Format>,
}

/// `suspend` and `resume`: which streams.
#[derive(Clone, Debug, clap::Args)]
#[command(group = clap::ArgGroup::new("which").args(["streams", "selector", "class"]).required(true).multiple(true))]
pub struct SelectionArgs {
    /// These streams.
    #[arg(value_name = "STREAM")]
    pub streams: Vec<String>,

    /// Streams with these labels, e.g. team=orders.
    #[arg(short = 'l', long, value_name = "LABELS")]
    pub selector: Option<String>,

    /// Streams of this StreamClass.
    #[arg(long, value_name = "CLASS")]
    pub class: Option<String>,

    /// Only ask the API server whether it would take the change.
    #[arg(long)]
    pub dry_run: bool,
}

/// `backfill`.
#[derive(Clone, Debug, clap::Args)]
pub struct BackfillArgs {
    /// The stream.
    #[arg(value_name = "STREAM")]
    pub stream: String,

    /// An object for the backfill's program: JSON, @FILE, or - for stdin.
    #[arg(long, value_name = "JSON")]
    pub payload: Option<String>,

    /// The name of the BackfillRequest, which is the backfill's id
    /// [default: the stream's name and the time].
    #[arg(long, value_name = "NAME")]
    pub name: Option<String>,

    /// Wait for its end, and show how far it is.
    #[arg(long)]
    pub wait: bool,

    /// How long to wait, e.g. 90s, 30m or 2h [default: for ever]. The backfill
    /// goes on when the time is over.
    #[arg(long, value_name = "TIME", requires = "wait", value_parser = seconds)]
    pub timeout: Option<std::time::Duration>,

    /// Only ask the API server whether it would take the request.
    #[arg(long, conflicts_with = "wait")]
    pub dry_run: bool,
}

/// `backfills`.
#[derive(Clone, Debug, clap::Args)]
pub struct BackfillsArgs {
    /// The stream.
    #[arg(value_name = "STREAM")]
    pub stream: String,

    /// How to print [default: a table].
    #[arg(short, long, value_enum, value_name = "FORMAT")]
    pub output: Option<Format>,
}

/// `validate`.
#[derive(Clone, Debug, clap::Args)]
pub struct ValidateArgs {
    /// Files and directories of manifests; - is stdin.
    #[arg(short = 'f', long = "filename", value_name = "FILE|DIR", required = true, num_args = 1..)]
    pub files: Vec<String>,

    /// Also what is in directories below.
    #[arg(short = 'R', long)]
    pub recursive: bool,

    /// Ask no cluster: what the files don't hold doesn't exist.
    #[arg(long)]
    pub offline: bool,

    /// What a missing template, class or stream is where neither class nor
    /// namespace says it: as the chart's value webhook.missingReferences. Auto is
    /// what kubectl users meet (Deny); a GitOps tool would be warned.
    #[arg(long, value_enum, value_name = "WORD", default_value_t = Missing::Auto, ignore_case = true)]
    pub missing_references: Missing,

    /// Warnings are findings, too: exit code 1.
    #[arg(long)]
    pub fail_on_warnings: bool,

    /// How to print.
    #[arg(short, long, value_enum, value_name = "FORMAT", default_value_t = Report::Text)]
    pub output: Report,
}

/// What a missing reference is taken for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Missing {
    /// A mistake.
    Auto,
    /// A mistake.
    Deny,
    /// Something that is still to come.
    Warn,
}

/// `explain`.
#[derive(Clone, Debug, clap::Args)]
pub struct ExplainArgs {
    /// The stream.
    #[arg(value_name = "STREAM")]
    pub stream: String,
}

/// `logs`.
#[derive(Clone, Debug, clap::Args)]
pub struct LogsArgs {
    /// The stream.
    #[arg(value_name = "STREAM")]
    pub stream: String,

    /// The log of its backfill, not of its streaming.
    #[arg(long)]
    pub backfill: bool,

    /// Go on as it grows.
    #[arg(short, long)]
    pub follow: bool,

    /// The log of the container before it was restarted.
    #[arg(short, long)]
    pub previous: bool,

    /// Only the last lines.
    #[arg(long, value_name = "LINES")]
    pub tail: Option<i64>,

    /// With the time of each line.
    #[arg(long)]
    pub timestamps: bool,

    /// The container [default: the one that kubectl would take].
    #[arg(short, long, value_name = "CONTAINER")]
    pub container: Option<String>,
}

/// `diff`.
#[derive(Clone, Debug, clap::Args)]
pub struct DiffArgs {
    /// The stream.
    #[arg(value_name = "STREAM")]
    pub stream: String,
}

/// `downtime`.
#[derive(Clone, Debug, Subcommand)]
pub enum Downtime {
    /// Suspend streams, and mark them with the downtime's name.
    Begin(DowntimeBegin),
    /// Show which streams are in which downtime.
    List,
    /// Resume the streams of a downtime, and take the marks away.
    End(DowntimeEnd),
}

/// `downtime begin`.
#[derive(Clone, Debug, clap::Args)]
pub struct DowntimeBegin {
    /// The downtime's name: a label value.
    #[arg(long = "name", value_name = "NAME")]
    pub name: String,
    /// Which streams.
    #[command(flatten)]
    pub which: SelectionArgs,
}

/// `downtime end`.
#[derive(Clone, Debug, clap::Args)]
pub struct DowntimeEnd {
    /// The downtime's name.
    #[arg(long = "name", value_name = "NAME")]
    pub name: String,

    /// Only ask the API server whether it would take the change.
    #[arg(long)]
    pub dry_run: bool,
}

/// `doctor`.
#[derive(Clone, Debug, clap::Args)]
pub struct DoctorArgs {
    /// The namespace of controller and webhook [default: where their Leases are].
    #[arg(long, value_name = "NAMESPACE")]
    pub operator_namespace: Option<String>,

    /// The name of the controller's Lease.
    #[arg(long, value_name = "NAME", default_value = "arcane-operator")]
    pub controller_lease: String,

    /// The name of the webhook's Lease, and of its configurations.
    #[arg(long, value_name = "NAME", default_value = arcane_common::api::well_known::WEBHOOK_CONFIGURATION)]
    pub webhook: String,

    /// How to print [default: text].
    #[arg(short, long, value_enum, value_name = "FORMAT")]
    pub output: Option<Format>,
}

/// `completion`.
#[derive(Clone, Debug, clap::Args)]
pub struct CompletionArgs {
    /// The shell.
    #[arg(value_enum, value_name = "SHELL")]
    pub shell: Shell,
}

/// A shell that completes command lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Shell {
    /// bash.
    Bash,
    /// zsh.
    Zsh,
    /// fish.
    Fish,
}

/// What kubectl gives to a plugin's completion.
#[derive(Clone, Debug, clap::Args)]
#[command(disable_help_flag = true)]
pub struct CompleteArgs {
    /// The words so far; the last is the one to be completed.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    pub words: Vec<String>,
}

/// How findings are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Report {
    /// For people.
    Text,
    /// For machines.
    Json,
    /// For code scanning: SARIF 2.1.0.
    Sarif,
    /// For CI: JUnit XML.
    Junit,
}

/// A time like `90s`, `30m`, `2h`, `1h30m`.
fn seconds(text: &str) -> Result<std::time::Duration, String> {
    let wrong = || "a time like 90s, 30m or 2h".to_owned();
    let time: jiff::SignedDuration = text.parse().map_err(|_| wrong())?;
    std::time::Duration::try_from(time).map_err(|_| wrong())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_fits_together() {
        Args::command().debug_assert();
    }

    #[test]
    fn flags_of_kubectl_may_stand_anywhere() {
        let args = Args::try_parse_from(["kubectl-arcane", "-n", "a", "status", "--context", "c"]).unwrap();
        assert_eq!((args.cluster.namespace.as_deref(), args.cluster.context.as_deref()), (Some("a"), Some("c")));
    }

    #[test]
    fn to_suspend_everything_must_be_said() {
        assert!(Args::try_parse_from(["kubectl-arcane", "suspend"]).is_err());
        assert!(Args::try_parse_from(["kubectl-arcane", "suspend", "--class", "c"]).is_ok());
    }

    #[test]
    fn a_time_has_a_unit() {
        assert_eq!(seconds("1h30m").map(|it| it.as_secs()), Ok(5400));
        assert_eq!(seconds("90s").map(|it| it.as_secs()), Ok(90));
        assert!(seconds("90").is_err() && seconds("-1s").is_err() && seconds("soon").is_err());
    }
}
