//! A real control plane on this machine, and what tests and demos need around it.
//!
//! ```text
//!   TestCluster ----> ControlPlane: etcd, kube-apiserver, kube-controller-manager   (or a cluster given by the person)
//!        ^                   ^
//!        |                   | watches, binds, sets statuses
//!        |            SimulatedKubelet: pods without a node
//!        |
//!   RequestProxy <---- OperatorProcess: the operator under test, killed and started at will
//!     numbers, records and cuts requests
//! ```
//!
//! Everything that is started here ends with the process that started it, however that ends: see [`supervisor`].

pub mod audit_log;
pub mod balancer;
pub mod bench;
pub mod binaries;
pub mod chart_readme;
pub mod chart_tools;
pub mod control_plane;
pub mod fixture;
pub mod go_operator;
pub mod kubeconfig;
pub mod kubelet;
pub mod limited;
pub mod manifests;
pub mod operator;
pub mod pki;
pub mod proxy;
pub mod reliability;
pub mod review_recorder;
pub mod supervisor;
pub mod test_cluster;
pub mod tls;
pub mod wait;
pub mod webhook;

pub use audit_log::{AuditLog, AuditedRequest};
pub use balancer::Balancer;
pub use chart_tools::ChartTools;
pub use control_plane::{ControlPlane, ControlPlaneOptions, free_port};
pub use fixture::{Fixture, FixtureOptions, TestNamespace};
pub use kubeconfig::{KubectlOutput, UserAccess};
pub use kubelet::{KubeletOptions, PodBehaviour, PodKind, PodRun, SimulatedKubelet};
pub use operator::{OperatorOptions, OperatorProcess, controller_binary, get, kubectl_plugin_binary, webhook_binary};
pub use proxy::{Armed, Cut, CutInstant, Fault, RequestProxy, Watching, Write, Wrong};
pub use review_recorder::{Normaliser, ReviewRecorder};
pub use test_cluster::TestCluster;
pub use wait::{Timeout, eventually, is_too_busy};
pub use webhook::WebhookAccess;
