//! What processes take of the machine, from `/proc`.

use std::fs;

use serde::{Deserialize, Serialize};

/// `USER_HZ`: on Linux it is 100 for every program, whatever the kernel counts in.
const TICKS_PER_SECOND: f64 = 100.0;

/// Seconds of processor time, by who took them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Processor {
    /// The operator with its children; 0 for the bare loop, which is in the bench.
    pub operator: f64,
    /// kube-apiserver.
    pub api_server: f64,
    /// etcd.
    pub etcd: f64,
    /// kube-controller-manager.
    pub controller_manager: f64,
    /// This process: the users, the simulated kubelet, the observer, the bare loop.
    pub bench: f64,
    /// Everybody else on the machine: near 0 in a quiet run.
    pub others: f64,
}

impl Processor {
    /// What was taken until now. `plane` is etcd, kube-apiserver, kube-controller-manager.
    pub fn now(operator: Option<u32>, plane: &[u32]) -> Self {
        let of = |at: usize| plane.get(at).map_or(0.0, |&pid| of_process(pid));
        let mut taken = Self {
            operator: operator.map_or(0.0, of_tree),
            etcd: of(0),
            api_server: of(1),
            controller_manager: of(2),
            bench: of_process(std::process::id()),
            others: 0.0,
        };
        taken.others = of_machine() - taken.sum();
        taken
    }

    /// What was taken since `earlier`; of an operator that was started anew since, all that it took.
    pub fn since(self, earlier: Self) -> Self {
        let mut taken = Self {
            operator: if self.operator < earlier.operator { self.operator } else { self.operator - earlier.operator },
            api_server: self.api_server - earlier.api_server,
            etcd: self.etcd - earlier.etcd,
            controller_manager: self.controller_manager - earlier.controller_manager,
            bench: self.bench - earlier.bench,
            others: 0.0,
        };
        taken.others = (self.sum() + self.others - earlier.sum() - earlier.others - taken.sum()).max(0.0);
        taken
    }

    fn sum(&self) -> f64 {
        self.operator + self.api_server + self.etcd + self.controller_manager + self.bench
    }
}

/// Memory in MiB.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Memory {
    /// The highest resident set so far.
    pub peak: f64,
    /// The resident set now.
    pub now: f64,
}

impl Memory {
    /// Of a process with its children.
    pub fn of(pid: u32) -> Self {
        tree(pid)
            .into_iter()
            .map(Self::of_one)
            .fold(Self::default(), |sum, one| Self { peak: sum.peak + one.peak, now: sum.now + one.now })
    }

    fn of_one(pid: u32) -> Self {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        let mebibytes = |field: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(field)).unwrap_or_default();
            line.split_whitespace().next().and_then(|word| word.parse::<f64>().ok()).unwrap_or_default() / 1024.0
        };
        Self { peak: mebibytes("VmHWM:"), now: mebibytes("VmRSS:") }
    }
}

/// Seconds of processor time of a process and of its children.
pub fn of_tree(pid: u32) -> f64 {
    tree(pid).into_iter().map(of_process).sum()
}

/// Seconds of processor time of a process, 0 if it has gone.
pub fn of_process(pid: u32) -> f64 {
    taken(&fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default())
}

/// The name of a program may hold spaces and brackets: what follows the last bracket counts.
fn taken(stat: &str) -> f64 {
    let after_name = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
    let ticks = after_name.split_whitespace().skip(11).take(2).filter_map(|word| word.parse::<f64>().ok());
    ticks.sum::<f64>() / TICKS_PER_SECOND
}

fn of_machine() -> f64 {
    let stat = fs::read_to_string("/proc/stat").unwrap_or_default();
    let first = stat.lines().next().unwrap_or_default();
    // user nice system idle iowait irq softirq steal guest guest_nice: what is idle isn't taken, guests are in user.
    let ticks = first.split_whitespace().skip(1).enumerate().filter(|(at, _)| !matches!(at, 3 | 4 | 8 | 9));
    ticks.filter_map(|(_, word)| word.parse::<f64>().ok()).sum::<f64>() / TICKS_PER_SECOND
}

fn tree(pid: u32) -> Vec<u32> {
    let mut all = vec![pid];
    let mut at = 0;
    while let Some(&parent) = all.get(at) {
        at += 1;
        let threads = fs::read_dir(format!("/proc/{parent}/task")).into_iter().flatten().flatten();
        for thread in threads {
            let children = fs::read_to_string(thread.path().join("children")).unwrap_or_default();
            all.extend(children.split_whitespace().filter_map(|word| word.parse::<u32>().ok()));
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_brackets_is_skipped() {
        let stat = "7 (a) b) c) S 1 7 7 0 -1 4194560 1 2 3 4 150 50 9 9 20 0 1 0 5";
        assert!((taken(stat) - 2.0).abs() < 1e-9);
        assert!(taken("").abs() < 1e-9);
    }

    #[test]
    fn this_process_has_memory_and_a_machine_that_has_worked() {
        let memory = Memory::of(std::process::id());
        assert!(memory.now > 1.0 && memory.peak >= memory.now, "{memory:?}");
        assert!(of_machine() > 1.0);
    }

    #[test]
    fn an_operator_started_anew_counts_from_nothing() {
        let before = Processor { operator: 5.0, api_server: 1.0, ..Processor::default() };
        let after = Processor { operator: 2.0, api_server: 4.0, ..Processor::default() };
        let taken = after.since(before);
        assert!((taken.operator - 2.0).abs() < 1e-9 && (taken.api_server - 3.0).abs() < 1e-9);
    }
}
