//! The command line. Each flag has a twin in the environment.

use std::net::SocketAddr;

use arcane_process::{leadership, logging::LogArgs, namespaces::NamespaceArgs};
use clap::{ArgAction, Parser, Subcommand};

/// Turns Arcane streams into Jobs and backfills.
///
/// Runs the controller, unless a command is given. The cluster is the one this
/// runs in, else the one that KUBECONFIG (or ~/.kube/config) names.
#[derive(Clone, Debug, Parser)]
#[command(name = "arcane-controller", version)]
pub struct Args {
    /// What to do instead of running.
    #[command(subcommand)]
    pub command: Option<Command>,
    /// How to run.
    #[command(flatten)]
    pub run: RunArgs,
}

/// What can be done instead of running.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Subcommand)]
pub enum Command {
    /// Print the CustomResourceDefinitions as YAML, for `kubectl apply --server-side -f -`.
    Crds,
}

/// How to run.
#[derive(Clone, Debug, clap::Args)]
pub struct RunArgs {
    /// Where to serve /healthz and /readyz.
    #[arg(long, env = "ARCANE_HEALTH_ADDR", value_name = "IP:PORT", default_value = "0.0.0.0:8888")]
    pub health_addr: SocketAddr,

    /// Where to serve /metrics, for Prometheus.
    #[arg(long, env = "ARCANE_METRICS_ADDR", value_name = "IP:PORT", default_value = "0.0.0.0:9090")]
    pub metrics_addr: SocketAddr,

    /// Work only while holding a Lease, so that of several controllers one works
    /// at a time. Say --leader-election=false only if this is the only one, for
    /// example on your own machine.
    #[arg(
        long,
        env = "ARCANE_LEADER_ELECTION",
        value_name = "true|false",
        action = ArgAction::Set,
        default_value_t = true,
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "true",
        hide_possible_values = true
    )]
    pub leader_election: bool,

    /// Where it works.
    #[command(flatten)]
    pub limits: NamespaceArgs,

    /// The namespace of the Lease [default: the pod's own, else the namespace of
    /// the kubeconfig's context].
    #[arg(long, env = "ARCANE_LEASE_NAMESPACE", value_name = "NAMESPACE")]
    pub lease_namespace: Option<String>,

    /// The name of the Lease. Controllers that share it share the work.
    #[arg(long, env = "ARCANE_LEASE_NAME", value_name = "NAME", default_value = "arcane-operator")]
    pub lease_name: String,

    /// Our name in the Lease; no two controllers may have the same at one time
    /// [default: the host's name and something random].
    #[arg(long, env = "ARCANE_IDENTITY", value_name = "NAME")]
    pub identity: Option<String>,

    /// The ValidatingWebhookConfiguration of the webhook, where it is installed: a
    /// StreamClass of another group than ours is Ready only when the webhook sees
    /// its streams.
    #[arg(long, env = "ARCANE_WEBHOOK_CONFIGURATION", value_name = "NAME")]
    pub webhook_configuration: Option<String>,

    /// How many objects are worked on at the same time.
    #[arg(
        long,
        env = "ARCANE_WORKERS",
        value_name = "N",
        default_value_t = 8,
        value_parser = clap::value_parser!(u16).range(1..=1024)
    )]
    pub workers: u16,

    /// What is logged, and how.
    #[command(flatten)]
    pub logs: LogArgs,
}

impl RunArgs {
    /// The Lease's namespace. `of_client` is [`kube::Client::default_namespace`]:
    /// the pod's namespace, or the kubeconfig's.
    pub fn lease_namespace<'a>(&'a self, of_client: &'a str) -> &'a str {
        self.lease_namespace.as_deref().unwrap_or(of_client)
    }

    /// Our name in the Lease. Where none is given, each call makes a new one.
    pub fn identity(&self) -> String {
        self.identity.clone().unwrap_or_else(leadership::new_identity)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use arcane_process::logging::LogFormat;
    use clap::CommandFactory as _;
    use rstest::rstest;

    use super::*;

    fn parsed(flags: &[&str]) -> Args {
        Args::try_parse_from([&["arcane-controller"], flags].concat()).unwrap()
    }

    #[test]
    fn the_definition_is_sound() {
        Args::command().debug_assert();
    }

    #[test]
    fn without_flags_it_runs_by_the_defaults() {
        let args = parsed(&[]);
        assert_eq!(args.command, None);
        assert_eq!(args.run.health_addr.to_string(), "0.0.0.0:8888");
        assert_eq!(args.run.metrics_addr.to_string(), "0.0.0.0:9090");
        assert!(args.run.leader_election);
        assert_eq!(args.run.lease_namespace("of-the-pod"), "of-the-pod");
        assert_eq!(args.run.lease_name, "arcane-operator");
        assert_eq!(args.run.workers, 8);
        assert_eq!(args.run.logs.log_format, LogFormat::Json);
    }

    #[rstest]
    #[case(&["--leader-election=false"], false)]
    #[case(&["--leader-election=true"], true)]
    #[case(&["--leader-election"], true)]
    fn leader_election_is_switched(#[case] flags: &[&str], #[case] wanted: bool) {
        assert_eq!(parsed(flags).run.leader_election, wanted);
    }

    #[rstest]
    #[case(&["--leader-election=maybe"], "invalid value 'maybe' for '--leader-election")]
    #[case(&["--workers", "0"], "0 is not in 1..=1024")]
    #[case(&["--health-addr", "8888"], "invalid socket address syntax")]
    #[case(&["--log-format", "xml"], "[possible values: json, text]")]
    fn a_wrong_value_is_named(#[case] flags: &[&str], #[case] said: &str) {
        let error = Args::try_parse_from([&["arcane-controller"], flags].concat()).unwrap_err();
        assert!(error.to_string().contains(said), "{error}");
    }

    #[test]
    fn crds_is_a_command() {
        assert_eq!(parsed(&["crds"]).command, Some(Command::Crds));
    }

    #[test]
    fn every_flag_has_its_twin_in_the_environment() {
        let command = Args::command();
        let flags: Vec<_> = command.get_arguments().filter(|flag| !flag.is_global_set()).collect();
        let mut seen = 0;
        for flag in flags {
            let Some(long) = flag.get_long().filter(|long| !["help", "version"].contains(long)) else { continue };
            let twin = format!("ARCANE_{}", long.to_uppercase().replace('-', "_"));
            assert_eq!(flag.get_env().and_then(|env| env.to_str()), Some(twin.as_str()), "--{long}");
            assert!(flag.get_help().is_some(), "--{long} has no help");
            seen += 1;
        }
        assert_eq!(seen, 11);
    }

    #[test]
    fn an_identity_is_given_or_new() {
        assert_eq!(parsed(&["--identity", "a"]).run.identity(), "a");
        let run = parsed(&[]).run;
        assert_ne!(run.identity(), run.identity());
    }
}
