//! A small cluster in which plans are carried out.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::time::Duration;

use arcane_certs::{
    Action, KeyId, Leaf, Lifetimes, MangledSecret, Memory, Observed, Plan, Published, SecretChange, ServingPair,
    Stored, TrustBundle,
};
use fastrand::Rng;
use jiff::Timestamp;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};

const MINUTE: i64 = 60;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;
const START: i64 = 1_900_000_000;
/// How old a read can be.
const STALE: i64 = MINUTE;
const NAME: &str = "arcane-operator-webhook.arcane.svc";

/// What is tried: the plan, or a wrong version of it.
#[derive(Clone)]
pub struct Subject {
    pub plan: fn(&Observed, &Lifetimes) -> Plan,
    pub lifetimes: Lifetimes,
}

/// What kind of history it is.
#[derive(Clone, Copy)]
pub struct Course {
    /// Crashes, jumping clocks, losses.
    pub storms: bool,
    /// Leaves are real, and verified by webpki.
    pub real: bool,
}

/// A broken rule.
pub struct Broken {
    pub rule: &'static str,
    pub told: String,
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "broken: {}: {}", self.rule, self.told)
    }
}

/// What happened.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    pub looks: u64,
    pub signed: u64,
    pub published: u64,
    pub created: u64,
    pub added: u64,
    pub promoted: u64,
    pub replaced: u64,
    pub conflicts: u64,
    pub crashes: u64,
    pub jumps: u64,
    pub damages: u64,
    pub verified: u64,
}

impl Tally {
    pub fn add(&mut self, other: &Self) {
        let Self {
            looks,
            signed,
            published,
            created,
            added,
            promoted,
            replaced,
            conflicts,
            crashes,
            jumps,
            damages,
            verified,
        } = other;
        self.looks += looks;
        self.signed += signed;
        self.published += published;
        self.created += created;
        self.added += added;
        self.promoted += promoted;
        self.replaced += replaced;
        self.conflicts += conflicts;
        self.crashes += crashes;
        self.jumps += jumps;
        self.damages += damages;
        self.verified += verified;
    }

    pub fn happened_enough(&self, histories: u64) -> bool {
        let each = [self.created, self.added, self.promoted, self.crashes, self.jumps, self.damages, self.conflicts];
        each.iter().all(|times| *times >= histories) && self.replaced > 0 && self.verified > 100
    }
}

/// An object with the versions it had lately.
struct Kept<T> {
    versions: VecDeque<(i64, u64, Option<T>)>,
    version: u64,
}

impl<T: Clone> Kept<T> {
    fn new() -> Self {
        Self { versions: VecDeque::from([(i64::MIN, 0, None)]), version: 0 }
    }

    fn now(&self) -> Option<&T> {
        self.versions.back().and_then(|(_, _, value)| value.as_ref())
    }

    fn set(&mut self, at: i64, value: Option<T>) {
        self.version += 1;
        self.versions.push_back((at, self.version, value));
        while self.versions.get(1).is_some_and(|(since, ..)| *since < at - STALE) {
            self.versions.pop_front();
        }
    }

    /// As it was then; but if it wasn't there then, as it is now.
    fn read(&self, then: i64) -> (u64, Option<T>) {
        let old = self.versions.iter().rev().find(|(since, ..)| *since <= then);
        let (_, version, value) = old.filter(|(.., value)| value.is_some()).unwrap_or(self.versions.back().unwrap());
        (*version, value.clone())
    }
}

#[derive(Clone)]
struct Configuration {
    published: Published,
    /// By somebody else, since we last wrote it.
    damaged: bool,
}

struct Pending {
    action: Action,
    now_at_look: Timestamp,
    stored: Option<Stored>,
    secret_version: u64,
    configuration_versions: [u64; 2],
}

struct Replica {
    skew: i64,
    started: i64,
    wakes: i64,
    memory: Memory,
    served: Option<(Leaf, Option<ServingPair>)>,
    pending: VecDeque<Pending>,
}

impl Replica {
    fn starting(at: i64, skew: i64) -> Self {
        Self { skew, started: at, wakes: at, memory: Memory::default(), served: None, pending: VecDeque::new() }
    }
}

pub struct World {
    subject: Subject,
    course: Course,
    rng: Rng,
    now: i64,
    api_skew: i64,
    secret: Kept<Result<Stored, MangledSecret>>,
    configurations: [Kept<Configuration>; 2],
    replicas: Vec<Replica>,
    writer: usize,
    next_storm: i64,
    /// When each authority was first in both configurations.
    first_published: BTreeMap<KeyId, i64>,
    /// Since when the next authority should be the current one.
    overdue_since: Option<i64>,
    /// Something was signed, published or damaged since the last check.
    changed: bool,
    tally: Tally,
}

impl World {
    pub fn new(subject: Subject, seed: u64, course: Course) -> Self {
        let mut rng = Rng::with_seed(seed);
        let mut world = Self {
            subject,
            course,
            now: START,
            api_skew: 0,
            secret: Kept::new(),
            configurations: [Kept::new(), Kept::new()],
            replicas: Vec::new(),
            writer: 0,
            next_storm: START + HOUR + rng.i64(0..DAY),
            first_published: BTreeMap::new(),
            overdue_since: None,
            changed: false,
            tally: Tally::default(),
            rng,
        };
        let replicas = world.rng.usize(1..=5);
        world.scale(replicas);
        world
    }

    pub fn scale(&mut self, replicas: usize) {
        self.replicas.truncate(replicas);
        while self.replicas.len() < replicas {
            let skew = self.skew();
            let at = self.now + self.rng.i64(0..MINUTE);
            self.replicas.push(Replica::starting(at, skew));
        }
        self.writer = self.writer.min(replicas - 1);
    }

    pub fn live(mut self, years: i64) -> Result<Tally, Broken> {
        let end = START + years * 365 * DAY;
        loop {
            let (who, wakes) =
                self.replicas.iter().enumerate().map(|(i, r)| (i, r.wakes)).min_by_key(|(_, at)| *at).unwrap();
            let at = wakes.min(self.next_storm).max(self.now);
            if at > end {
                return Ok(self.tally);
            }
            self.now = at;
            // What is served must hold until the next thing happens, and right after it.
            self.check()?;
            if self.course.storms && self.next_storm <= wakes {
                self.storm();
            } else if !self.course.storms && self.next_storm <= wakes {
                self.next_storm = i64::MAX;
            } else if self.replicas[who].pending.is_empty() {
                self.look(who)?;
            } else {
                self.act(who)?;
            }
            self.check()?;
        }
    }

    fn skew(&mut self) -> i64 {
        if self.course.storms { self.rng.i64(-DAY..=DAY) } else { 0 }
    }

    fn clock(&self, who: usize) -> Timestamp {
        Timestamp::from_second(self.now + self.replicas[who].skew).unwrap()
    }

    fn observed(&mut self, who: usize, fresh: bool) -> (Observed, Pending) {
        let then = if fresh || self.rng.u8(0..4) > 0 { self.now } else { self.now - self.rng.i64(0..STALE) };
        let (secret_version, stored) = self.secret.read(then);
        let then = if fresh || self.rng.u8(0..4) > 0 { self.now } else { self.now - self.rng.i64(0..STALE) };
        let read = [self.configurations[0].read(then), self.configurations[1].read(then)];
        let published =
            read.iter().map(|(_, one)| one.as_ref().map_or(Published::Missing, |one| one.published.clone())).collect();
        // Now and then a second one believes for a while that it holds the Lease.
        let is_writer = who == self.writer || (self.course.storms && self.rng.u8(0..50) == 0);
        let replica = &self.replicas[who];
        let now = self.clock(who);
        let pending = Pending {
            action: Action::PublishBundle(TrustBundle::default()),
            now_at_look: now,
            stored: stored.as_ref().and_then(|stored| stored.clone().ok()),
            secret_version,
            configuration_versions: [read[0].0, read[1].0],
        };
        let observed = Observed {
            now,
            uptime: Duration::from_secs((self.now - replica.started).unsigned_abs()),
            stored,
            published,
            served: replica.served.as_ref().map(|(leaf, _)| *leaf),
            is_writer,
            memory: replica.memory.clone(),
        };
        (observed, pending)
    }

    fn look(&mut self, who: usize) -> Result<(), Broken> {
        self.tally.looks += 1;
        if self.replicas[self.writer].started > self.now {
            self.writer = who;
        }
        if self.course.storms && self.rng.u8(0..10) == 0 {
            self.tally.jumps += 1;
            self.replicas[who].skew = self.skew();
        }
        let fresh = !self.course.storms;
        let (observed, seen) = self.observed(who, fresh);
        let plan = (self.subject.plan)(&observed, &self.subject.lifetimes);
        if plan.look_again <= observed.now {
            return Err(
                self.broken("a plan is quiet when nothing is due", format!("{who} looks again at once: {plan:?}"))
            );
        }
        self.quiet(&observed, &plan)?;
        let pause = plan.look_again.as_second() - observed.now.as_second() + 1;
        let dawdles = self.rng.i64(0..5);
        self.replicas[who].memory = plan.memory;
        for action in plan.actions {
            if let Action::SignLeaf { signer } = action {
                // Nothing happens between the look and the signature: no request is made.
                self.sign(who, signer, &seen)?;
                continue;
            }
            self.replicas[who].pending.push_back(Pending { action, stored: seen.stored.clone(), ..seen });
        }
        let waits = if self.replicas[who].pending.is_empty() { pause } else { dawdles };
        self.replicas[who].wakes = self.now + waits;
        Ok(())
    }

    /// Where nothing changes but what the plans themselves do, there is soon nothing to do.
    fn quiet(&self, observed: &Observed, first: &Plan) -> Result<(), Broken> {
        let mut after = observed.clone();
        let mut plan = first.clone();
        for _ in 0..3 {
            // What is in a new Secret is for the next look.
            if plan.actions.iter().all(|action| matches!(action, Action::WriteSecret(_))) {
                return Ok(());
            }
            for action in &plan.actions {
                match (action, &observed.stored) {
                    (Action::SignLeaf { signer }, Some(Ok(stored))) => {
                        let validity = self.subject.lifetimes.leaf_validity(observed.now, stored.current.validity());
                        after.served = Some(Leaf { signer: Some(*signer), validity });
                    }
                    (Action::PublishBundle(bundle), _) => {
                        let published = Published::Bundle { trusted: bundle.clone(), exact: true };
                        after.published.fill(published);
                    }
                    _ => {}
                }
            }
            after.memory = plan.memory;
            plan = (self.subject.plan)(&after, &self.subject.lifetimes);
        }
        let told = format!("{:?} and still {:?}", first.actions, plan.actions);
        Err(self.broken("a plan is quiet when nothing is due", told))
    }

    fn sign(&mut self, who: usize, signer: KeyId, seen: &Pending) -> Result<(), Broken> {
        let authority = seen.stored.as_ref().map(|stored| stored.current.clone());
        let Some(authority) = authority.filter(|authority| authority.key_id() == signer) else {
            return Err(self.broken("only current signs", format!("{who} signs with {signer}")));
        };
        if let Some((served, _)) = &self.replicas[who].served {
            let changes = served.signer != Some(signer);
            let registered = self.configurations.iter().any(|one| one.now().is_some_and(|one| !one.damaged));
            let worked = served.signer.is_some_and(|signer| self.works(signer, *served));
            let since = self.first_published.get(&signer).copied().unwrap_or(i64::MAX);
            if changes && registered && worked && since.saturating_add(5 * MINUTE) > self.now {
                let told = format!("{who} signs with {signer}, published since {since}");
                return Err(self.broken("an authority is published for five minutes before it signs", told));
            }
        }
        let now = Timestamp::from_second(seen.now_at_look.as_second()).unwrap();
        let lifetimes = &self.subject.lifetimes;
        let pair = self.course.real.then(|| authority.sign(&[NAME.to_owned()], now, lifetimes).unwrap());
        let validity = lifetimes.leaf_validity(now, authority.validity());
        let leaf = Leaf { signer: Some(signer), validity };
        if let Some(pair) = &pair {
            assert_eq!(pair.leaf(), leaf, "the model's leaf and the real one");
        }
        if validity.not_after > authority.validity().not_after {
            return Err(self.broken("no leaf outlives its authority", format!("{leaf:?}")));
        }
        self.replicas[who].served = Some((leaf, pair));
        self.tally.signed += 1;
        self.changed = true;
        Ok(())
    }

    fn act(&mut self, who: usize) -> Result<(), Broken> {
        let Some(pending) = self.replicas[who].pending.pop_front() else { return Ok(()) };
        let done = match &pending.action {
            Action::SignLeaf { .. } => true,
            Action::PublishBundle(bundle) => self.publish(who, bundle.clone(), &pending),
            Action::WriteSecret(change) => self.write_secret(change, &pending)?,
        };
        if !done {
            self.tally.conflicts += 1;
            self.replicas[who].pending.clear();
        }
        self.replicas[who].wakes = self.now + 1 + self.rng.i64(0..5);
        if self.course.storms && self.rng.u8(0..10) == 0 {
            self.crash(who);
        }
        Ok(())
    }

    /// Writes one configuration; the other is written by the same action later, unless there is a crash between.
    fn publish(&mut self, who: usize, bundle: TrustBundle, pending: &Pending) -> bool {
        let wanted = Published::read(Some(bundle.pem().as_bytes()));
        let differs = |one: &Kept<Configuration>| one.now().is_none_or(|one| one.published != wanted);
        let Some(which) = self.configurations.iter().position(differs) else { return true };
        let one = &mut self.configurations[which];
        if one.version != pending.configuration_versions[which] {
            return false;
        }
        one.set(self.now, Some(Configuration { published: wanted.clone(), damaged: false }));
        self.tally.published += 1;
        self.changed = true;
        let mut configuration_versions = pending.configuration_versions;
        configuration_versions[which] = one.version;
        let again = Pending {
            action: pending.action.clone(),
            stored: pending.stored.clone(),
            configuration_versions,
            ..*pending
        };
        if self.configurations.iter().any(differs) {
            self.replicas[who].pending.push_front(again);
        }
        let trusted = |one: &Kept<Configuration>| match one.now() {
            Some(Configuration { published: Published::Bundle { trusted, .. }, .. }) => trusted.clone(),
            _ => TrustBundle::default(),
        };
        let [one, other] = [trusted(&self.configurations[0]), trusted(&self.configurations[1])];
        for certificate in one.certificates().filter(|certificate| other.trusts(certificate.key_id())) {
            self.first_published.entry(certificate.key_id()).or_insert(self.now);
        }
        true
    }

    fn write_secret(&mut self, change: &SecretChange, pending: &Pending) -> Result<bool, Broken> {
        if self.secret.version != pending.secret_version {
            return Ok(false);
        }
        match change {
            SecretChange::CreateAuthority { .. } => self.tally.created += 1,
            SecretChange::ReplaceMangledSecret { .. } => self.tally.replaced += 1,
            SecretChange::ReplaceUnusableAuthority { .. } => {
                return Err(self.broken("the next authority is made when it is due", "the authority ended".to_owned()));
            }
            SecretChange::AddNext => {
                self.tally.added += 1;
                let ends = pending.stored.as_ref().unwrap().current.validity().not_after.as_second();
                // At two thirds, by a clock that may be a day off.
                if ends - self.now > 365 * DAY / 3 + DAY {
                    let told = format!("{} days before its end", (ends - self.now) / DAY);
                    return Err(self.broken("the next authority is made when it is due", told));
                }
            }
            SecretChange::Promote { next } => {
                self.tally.promoted += 1;
                let since = self.first_published.get(next).copied().unwrap_or(i64::MAX);
                if since.saturating_add(5 * MINUTE) > self.now {
                    let told = format!("{next} takes over, published since {since}");
                    return Err(self.broken("an authority is published for five minutes before it signs", told));
                }
            }
        }
        let lifetimes = &self.subject.lifetimes;
        let stored = change.apply(pending.stored.as_ref(), pending.now_at_look, lifetimes).unwrap();
        assert_eq!(Stored::decode(&stored.encode()).unwrap(), stored);
        self.secret.set(self.now, Some(Ok(stored)));
        Ok(true)
    }

    fn crash(&mut self, who: usize) {
        self.tally.crashes += 1;
        let down = match self.rng.u8(0..10) {
            0 => self.rng.i64(0..3 * DAY),
            _ => self.rng.i64(1..10 * MINUTE),
        };
        self.replicas[who] = Replica::starting(self.now + down, self.replicas[who].skew);
        // Somebody else gets the Lease.
        self.writer = self.rng.usize(0..self.replicas.len());
    }

    fn storm(&mut self) {
        self.changed = true;
        let next = if self.rng.bool() { self.rng.i64(15 * MINUTE..3 * HOUR) } else { self.rng.i64(HOUR..20 * DAY) };
        self.next_storm = self.now + next;
        let who = self.rng.usize(0..self.replicas.len());
        match self.rng.u8(0..12) {
            0 | 1 => self.crash(who),
            2 => {
                for who in 0..self.replicas.len() {
                    self.crash(who);
                }
            }
            3 | 4 => {
                self.tally.jumps += 1;
                self.replicas[who].skew = self.skew();
            }
            5 => {
                self.tally.jumps += 1;
                let skew = self.skew();
                self.replicas.iter_mut().for_each(|replica| replica.skew = skew);
            }
            6 => {
                self.tally.jumps += 1;
                self.api_skew = self.skew();
            }
            7 => {
                let replicas = self.rng.usize(1..=5);
                self.scale(replicas);
            }
            // About once a year, or no authority would live to see its successor.
            8 if self.rng.u8(0..6) == 0 => self.damage_secret(None),
            9 if self.rng.u8(0..6) == 0 => self.damage_secret(Some(Err(MangledSecret::SameTwice))),
            8 | 9 => self.crash(who),
            10 => {
                self.tally.damages += 1;
                let which = self.rng.usize(0..3);
                for (i, one) in self.configurations.iter_mut().enumerate() {
                    if i == which || which == 2 {
                        one.set(self.now, None);
                    }
                }
            }
            _ => {
                self.tally.damages += 1;
                let which = self.rng.usize(0..2);
                let mangled = Published::read(Some(b"-----BEGIN CERTIFICATE-----\nQUJD\n-----END CERTIFICATE-----\n"));
                self.configurations[which].set(self.now, Some(Configuration { published: mangled, damaged: true }));
            }
        }
        // A watch tells everybody, after a while.
        for replica in &mut self.replicas {
            let hears = self.now + self.rng.i64(0..MINUTE);
            if replica.started <= self.now {
                replica.wakes = replica.wakes.min(hears);
            }
        }
    }

    fn damage_secret(&mut self, left: Option<Result<Stored, MangledSecret>>) {
        self.tally.damages += 1;
        self.secret.set(self.now, left);
    }

    fn works(&self, signer: KeyId, leaf: Leaf) -> bool {
        let at = Timestamp::from_second(self.now + self.api_skew).unwrap();
        leaf.validity.contains(at)
            && self.intact().all(|trusted| {
                let mut of_signer = trusted.certificates().filter(|certificate| certificate.key_id() == signer);
                of_signer.any(|certificate| certificate.validity().contains(at))
            })
    }

    fn intact(&self) -> impl Iterator<Item = &TrustBundle> {
        self.configurations.iter().filter_map(|one| match one.now() {
            Some(Configuration { published: Published::Bundle { trusted, .. }, damaged: false }) => Some(trusted),
            _ => None,
        })
    }

    fn check(&mut self) -> Result<(), Broken> {
        let mut verified = 0;
        for (who, replica) in self.replicas.iter().enumerate() {
            let Some((leaf, pair)) = &replica.served else { continue };
            let works = leaf.signer.is_some_and(|signer| self.works(signer, *leaf));
            // Each leaf in each of its situations, but not at each moment.
            if let Some(pair) = pair.as_ref().filter(|_| self.changed || self.tally.looks.is_multiple_of(64)) {
                for trusted in self.intact() {
                    verified += 1;
                    assert_eq!(verifies(pair, trusted, self.now + self.api_skew), works, "webpki and the model");
                }
            }
            if !works {
                let told = format!(
                    "replica {who} serves {leaf:?}, the API server trusts {:?}",
                    self.intact().collect::<Vec<_>>()
                );
                return Err(self.broken("each served leaf verifies against the published bundle", told));
            }
        }
        self.changed = false;
        self.tally.verified += verified;
        self.check_succession()
    }

    /// A writer may be down or its clock behind; a fortnight is enough for that.
    fn check_succession(&mut self) -> Result<(), Broken> {
        let overdue = match self.secret.now() {
            Some(Ok(stored)) => stored.current.validity().not_after.as_second() - self.now < 365 * DAY / 3,
            _ => false,
        };
        match (overdue, self.overdue_since) {
            (false, _) => self.overdue_since = None,
            (true, None) => self.overdue_since = Some(self.now),
            (true, Some(since)) if self.now - since > 14 * DAY => {
                return Err(self.broken("the next authority is made when it is due", format!("due since {since}")));
            }
            _ => {}
        }
        Ok(())
    }

    fn broken(&self, rule: &'static str, told: String) -> Broken {
        let days = (self.now - START) as f64 / DAY as f64;
        let skews: Vec<_> = self.replicas.iter().map(|replica| replica.skew / HOUR).collect();
        Broken {
            rule,
            told: format!(
                "on day {days:.4}, clocks {skews:?} hours off, the API server's {}: {told}",
                self.api_skew / HOUR
            ),
        }
    }
}

/// Whether a client that trusts this bundle accepts the server, as rustls would.
fn verifies(pair: &ServingPair, trusted: &TrustBundle, at: i64) -> bool {
    let der = CertificateDer::from_pem_slice(pair.chain_pem().as_bytes()).unwrap();
    let anchors: Vec<_> = trusted.certificates().map(|certificate| CertificateDer::from(certificate.der())).collect();
    let anchors: Vec<_> = anchors.iter().map(|der| webpki::anchor_from_trusted_cert(der).unwrap()).collect();
    let leaf = webpki::EndEntityCert::try_from(&der).unwrap();
    let at = UnixTime::since_unix_epoch(Duration::from_secs(at.unsigned_abs()));
    let algorithms = &[webpki::ring::ECDSA_P256_SHA256];
    let usage = webpki::KeyUsage::server_auth();
    leaf.verify_for_usage(algorithms, &anchors, &[], at, usage, None, None).is_ok()
        && leaf.verify_is_valid_for_subject_name(&ServerName::try_from(NAME).unwrap()).is_ok()
}
