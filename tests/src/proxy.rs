//! A proxy in front of the API server: it numbers, records and counts the requests of an operator, and lets them go wrong.
//!
//! The operator speaks plain HTTP to it on 127.0.0.1; it speaks TLS to the API server with the credentials of a user.
//! What can go wrong is a [`Fault`], which happens once; besides, reads can be frozen ([`RequestProxy::freeze`]).

mod answers;
mod events;
mod fault;

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use http::{Method, Request, Response};
use http_body_util::BodyExt as _;
use http_body_util::combinators::UnsyncBoxBody;
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use kube::Client;
use kube::client::Body;
use kube::config::{AuthInfo, Cluster};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::AbortHandle;

use self::answers::{bad_gateway, end_to_end_only, go_wrong, read, whole, written};
pub use self::fault::{Armed, Cut, CutInstant, Fault, Watching, Write, Wrong};
use self::{events::Hit, fault::Fire};
use crate::kubeconfig::{self, AccessError, UserAccess};

/// A running proxy; it stops when dropped.
pub struct RequestProxy {
    shared: Arc<Shared>,
    address: SocketAddr,
    kubeconfig: PathBuf,
    _directory: tempfile::TempDir,
    task: AbortHandle,
}

/// The proxy could not be started.
#[derive(Debug, thiserror::Error)]
pub enum ProxyError {
    /// A kubeconfig cannot be used or written.
    #[error(transparent)]
    Access(#[from] AccessError),
    /// A socket or a file.
    #[error("cannot start the request proxy: {0}")]
    Io(#[from] std::io::Error),
}

/// Why an answer breaks off.
type BoxError = Box<dyn std::error::Error + Send + Sync>;

type AnswerBody = UnsyncBoxBody<Bytes, BoxError>;

struct Shared {
    upstream: Client,
    state: Mutex<State>,
    /// Changes when all connections are to end.
    generation: watch::Sender<u64>,
    /// Writes that the API server has been sent and has not answered.
    unanswered: watch::Sender<usize>,
    /// How many writes have got a number.
    numbered: watch::Sender<usize>,
    is_numbered: Box<IsNumbered>,
    /// The revision at which lists and watches stand still.
    frozen: watch::Sender<Option<String>>,
}

type IsNumbered = dyn Fn(&Method, &str) -> bool + Send + Sync;

#[derive(Default)]
struct State {
    writes: Vec<Write>,
    requests: u64,
    /// The events of the watches so far, by plural.
    events: HashMap<String, usize>,
    frozen_lists: usize,
    armed: Option<(Fault, Fire)>,
    refusing: bool,
}

/// What becomes of a request.
enum Fate {
    Refused,
    Forwarded,
    /// The index of the write, if it has a number.
    Written(Option<usize>),
    Cut(usize, CutInstant, Fire),
    Wrong(usize, Wrong, Fire),
}

impl RequestProxy {
    /// Starts a proxy that speaks to the API server as this user.
    pub async fn start(upstream: &UserAccess) -> Result<Self, ProxyError> {
        Self::start_numbering(upstream, |_, _| true).await
    }

    /// The same, with numbers only for the writes that this says (of those that can have one), given method and path.
    pub async fn start_numbering(
        upstream: &UserAccess,
        is_numbered: impl Fn(&Method, &str) -> bool + Send + Sync + 'static,
    ) -> Result<Self, ProxyError> {
        let mut config = kubeconfig::configuration(upstream.kubeconfig()).await?;
        config.default_retry = false; // what the API server says is for the operator to judge
        let upstream = UserAccess::from_config(upstream.name(), upstream.kubeconfig(), config)?.client();
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let directory = tempfile::Builder::new().prefix("arcane-request-proxy-").tempdir()?;
        let kubeconfig = directory.path().join("kubeconfig");
        let cluster = Cluster { server: Some(format!("http://{address}")), ..Cluster::default() };
        kubeconfig::write(&kubeconfig, cluster, AuthInfo::default())?;
        let shared = Arc::new(Shared {
            upstream,
            state: Mutex::default(),
            generation: watch::Sender::default(),
            unanswered: watch::Sender::default(),
            numbered: watch::Sender::default(),
            is_numbered: Box::new(is_numbered),
            frozen: watch::Sender::default(),
        });
        let task = tokio::spawn(listen(listener, shared.clone())).abort_handle();
        Ok(Self { shared, address, kubeconfig, _directory: directory, task })
    }

    /// The kubeconfig for the operator.
    pub fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// All writes so far, also those that were cut.
    pub fn writes(&self) -> Vec<Write> {
        self.shared.state().writes.clone()
    }

    /// Waits until so many writes have come; the API server may not have answered the last one yet.
    pub async fn came_to_write(&self, number: usize) {
        let _ = self.shared.numbered.subscribe().wait_for(|numbered| *numbered >= number).await;
    }

    /// How many requests there were so far, reads, watches and Leases included.
    pub fn requests(&self) -> u64 {
        self.shared.state().requests
    }

    /// How many events each kind's watches have shown so far, by plural.
    pub fn events(&self) -> HashMap<String, usize> {
        self.shared.state().events.clone()
    }

    /// From now on, for so long, what is listed in a namespace to be watched is listed as it was at this revision, and its
    /// watches show nothing; then they must list again. Other reads, and all writes, are as ever.
    pub fn freeze(&self, revision: &str, how_long: Duration) {
        self.shared.frozen.send_replace(Some(revision.to_owned()));
        let shared = Arc::clone(&self.shared);
        tokio::spawn(async move {
            tokio::time::sleep(how_long).await;
            shared.frozen.send_replace(None);
        });
    }

    /// How many lists were answered from the past.
    pub fn frozen_lists(&self) -> usize {
        self.shared.state().frozen_lists
    }

    /// From now on this fault will happen (instead of one armed before).
    pub fn arm(&self, fault: impl Into<Fault>) -> Armed {
        let (fire, fired) = watch::channel(None);
        self.shared.state().armed = Some((fault.into(), fire));
        Armed(fired)
    }

    /// No fault from now on; connections are accepted again.
    pub fn disarm(&self) {
        let mut state = self.shared.state();
        state.armed = None;
        state.refusing = false;
    }
}

impl Drop for RequestProxy {
    fn drop(&mut self) {
        self.task.abort();
        self.shared.end_connections();
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn end_connections(&self) {
        self.generation.send_modify(|generation| *generation += 1);
    }

    /// Counts and numbers a request, and decides what becomes of it.
    fn judge(&self, method: &Method, path: &str) -> Fate {
        let mut state = self.state();
        if state.refusing {
            return Fate::Refused;
        }
        state.requests += 1;
        if !is_write(method) {
            return Fate::Forwarded;
        }
        if is_of_no_story(path) || !(self.is_numbered)(method, path) {
            self.unanswered.send_modify(|count| *count += 1);
            return Fate::Written(None);
        }
        let index = state.writes.len();
        let write =
            Write { number: index + 1, method: method.clone(), path: path.to_owned(), status: None, revision: None };
        state.writes.push(write);
        self.numbered.send_replace(index + 1);
        let is_armed = match &state.armed {
            Some((Fault::Cut(Cut { nth_write, .. }) | Fault::Wrong { nth_write, .. }, _)) => *nth_write == index + 1,
            _ => false,
        };
        match state.armed.take_if(|_| is_armed) {
            Some((Fault::Cut(cut), fire)) => {
                state.refusing = true;
                if cut.instant == CutInstant::AfterCommit {
                    self.unanswered.send_modify(|count| *count += 1);
                }
                Fate::Cut(index, cut.instant, fire)
            }
            Some((Fault::Wrong { how, .. }, fire)) => Fate::Wrong(index, how, fire),
            _ => {
                self.unanswered.send_modify(|count| *count += 1);
                Fate::Written(Some(index))
            }
        }
    }

    /// Counts an event of a watch, and tells what is to become of it.
    fn on_event(&self, plural: &str, line: &[u8]) -> Option<Hit> {
        if !events::is_event(line) {
            return None;
        }
        let mut state = self.state();
        let count = state.events.entry(plural.to_owned()).or_default();
        *count += 1;
        let number = *count;
        let is_armed = matches!(&state.armed, Some((Fault::Watch { plural: of, nth_event, .. }, _))
            if *of == plural && *nth_event == number);
        let (fault, fire) = state.armed.take_if(|_| is_armed)?;
        let Fault::Watch { how, .. } = fault else { return None };
        let what = Write { number, method: Method::GET, path: plural.to_owned(), status: None, revision: None };
        Some(Hit { how, fire, what })
    }

    /// Ends all connections now, and tells when nothing is under way any more.
    async fn cut(&self, index: usize, fire: Fire) {
        self.end_connections();
        let _ = self.unanswered.subscribe().wait_for(|count| *count == 0).await;
        self.has_happened(index, &fire);
    }

    /// Sends a write, notes the answer's status, and reads the answer to its end.
    async fn write(&self, index: Option<usize>, request: Request<Body>) -> Result<Response<AnswerBody>, kube::Error> {
        let answer = async {
            let (head, body) = self.upstream.send(request).await?.into_parts();
            Ok((head, body.collect().await?.to_bytes()))
        }
        .await;
        if let (Some(index), Ok((head, body))) = (index, &answer)
            && let Some(write) = self.state().writes.get_mut(index)
        {
            write.status = Some(head.status.as_u16());
            let object: serde_json::Value = serde_json::from_slice(body).unwrap_or_default();
            write.revision = object["metadata"]["resourceVersion"].as_str().map(ToOwned::to_owned);
        }
        self.unanswered.send_modify(|count| *count -= 1);
        answer.map(|(head, body)| Response::from_parts(head, whole(body)))
    }

    fn has_happened(&self, index: usize, fire: &Fire) {
        let write = self.state().writes.get(index).cloned();
        fire.send_replace(write);
    }
}

fn is_write(method: &Method) -> bool {
    [Method::POST, Method::PUT, Method::PATCH, Method::DELETE].contains(method)
}

fn is_of_no_story(path: &str) -> bool {
    ["/apis/coordination.k8s.io/", "/apis/authorization.k8s.io/", "/apis/authentication.k8s.io/"]
        .iter()
        .any(|group| path.starts_with(group))
}

async fn listen(listener: TcpListener, shared: Arc<Shared>) {
    loop {
        if let Ok((connection, _)) = listener.accept().await {
            if shared.state().refusing {
                continue; // dropped: the operator sees the connection end at once
            }
            // Subscribed here, so that a cut between here and there is seen.
            let ends = shared.generation.subscribe();
            tokio::spawn(serve(connection, ends, shared.clone()));
        }
    }
}

async fn serve(connection: TcpStream, mut ends: watch::Receiver<u64>, shared: Arc<Shared>) {
    let _ = connection.set_nodelay(true);
    let answers = service_fn(move |request| answer(shared.clone(), request));
    let served = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .serve_connection(TokioIo::new(connection), answers);
    tokio::select! {
        _ = served => {}
        _ = ends.changed() => {}
    }
}

async fn answer(shared: Arc<Shared>, request: Request<Incoming>) -> Result<Response<AnswerBody>, BoxError> {
    // The whole request first: a cut comes between it and the API server, never within.
    let (mut head, body) = request.into_parts();
    let Ok(body) = body.collect().await else {
        return std::future::pending().await; // the operator has gone
    };
    let body = body.to_bytes().to_vec();
    end_to_end_only(&mut head.headers);
    let fate = shared.judge(&head.method, head.uri.path());
    let mut request = Request::from_parts(head, Body::from(body));
    *request.version_mut() = http::Version::HTTP_11;
    let answered = match fate {
        // The end of the connection is all that the operator gets to know.
        Fate::Refused => std::future::pending().await,
        Fate::Forwarded => read(&shared, request).await,
        Fate::Written(index) => written(&shared, index, request).await,
        Fate::Cut(index, instant, fire) => {
            tokio::spawn(async move {
                if instant == CutInstant::AfterCommit {
                    let _ = shared.write(Some(index), request).await;
                }
                shared.cut(index, fire).await;
            });
            std::future::pending().await
        }
        Fate::Wrong(index, how, fire) => go_wrong(&shared, index, how, &fire, request).await?,
    };
    Ok(match answered {
        Ok(mut answer) => {
            end_to_end_only(answer.headers_mut());
            answer
        }
        Err(error) => bad_gateway(&error),
    })
}
