//! A proxy in front of the API server: it numbers, records and counts the requests of an operator, and cuts them.
//!
//! The operator speaks plain HTTP to it on 127.0.0.1; it speaks TLS to the API server with the credentials of a user.
//! This is the start of a fault proxy: every kind of fault is a [`Fault`].

use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use http::{HeaderMap, Method, Request, Response, header};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use kube::Client;
use kube::client::Body;
use kube::config::{AuthInfo, Cluster};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::AbortHandle;

use crate::kubeconfig::{self, AccessError, UserAccess};

/// A write: POST, PUT, PATCH, DELETE; but not of Leases, and no review of one's own rights, as these are no part of any story.
/// Which of them have a number can be narrowed further: see [`RequestProxy::start_numbering`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Write {
    /// Its number, from 1 on.
    pub number: usize,
    /// The method.
    pub method: Method,
    /// The path, without the query.
    pub path: String,
    /// The HTTP status of the answer, if the API server has given one.
    pub status: Option<u16>,
}

/// What the proxy does to the operator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The connection ends at a write, as if the operator had been killed there.
    Cut(Cut),
}

/// At this write the proxy stops: it gives no answer, ends all connections, and refuses new ones until it is disarmed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cut {
    /// The number of the write, counted from the start of the proxy.
    pub nth_write: usize,
    /// Whether the API server gets the write.
    pub instant: CutInstant,
}

/// When a write is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CutInstant {
    /// The API server never gets it.
    BeforeSend,
    /// The API server has done it; the operator never hears of it.
    AfterCommit,
}

impl From<Cut> for Fault {
    fn from(cut: Cut) -> Self {
        Self::Cut(cut)
    }
}

/// An armed fault: tells when it has happened.
#[derive(Debug)]
pub struct Armed(watch::Receiver<Option<Write>>);

impl Armed {
    /// Waits until the fault has happened, and every write that had been sent before has been answered by the API server:
    /// from here on nothing changes on behalf of the operator. Never ends if the write never comes.
    pub async fn fired(&mut self) -> Write {
        match self.0.wait_for(Option::is_some).await.map(|write| write.clone()) {
            Ok(Some(write)) => write,
            _ => std::future::pending().await, // disarmed before
        }
    }

    /// The write, if the fault has happened.
    pub fn has_fired(&self) -> Option<Write> {
        self.0.borrow().clone()
    }
}

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
}

type IsNumbered = dyn Fn(&Method, &str) -> bool + Send + Sync;

#[derive(Default)]
struct State {
    writes: Vec<Write>,
    requests: u64,
    armed: Option<(Fault, watch::Sender<Option<Write>>)>,
    refusing: bool,
}

/// What becomes of a request.
enum Fate {
    Refused,
    Forwarded,
    /// The index of the write, if it has a number.
    Written(Option<usize>),
    CutBeforeSend(usize, watch::Sender<Option<Write>>),
    CutAfterCommit(usize, watch::Sender<Option<Write>>),
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
        state.writes.push(Write { number: index + 1, method: method.clone(), path: path.to_owned(), status: None });
        self.numbered.send_replace(index + 1);
        let cut = match &state.armed {
            Some((Fault::Cut(cut), _)) if cut.nth_write == index + 1 => Some(cut.instant),
            _ => None,
        };
        let Some(instant) = cut else {
            self.unanswered.send_modify(|count| *count += 1);
            return Fate::Written(Some(index));
        };
        state.refusing = true;
        let fire = state.armed.take().map(|(_, fire)| fire).unwrap_or_default();
        match instant {
            CutInstant::BeforeSend => Fate::CutBeforeSend(index, fire),
            CutInstant::AfterCommit => {
                self.unanswered.send_modify(|count| *count += 1);
                Fate::CutAfterCommit(index, fire)
            }
        }
    }

    /// Ends all connections now, and tells when nothing is under way any more.
    async fn cut(&self, index: usize, fire: watch::Sender<Option<Write>>) {
        self.end_connections();
        let _ = self.unanswered.subscribe().wait_for(|count| *count == 0).await;
        let write = self.state().writes.get(index).cloned();
        fire.send_replace(write);
    }

    /// Sends a write, notes the answer's status, and reads the answer to its end.
    async fn write(&self, index: Option<usize>, request: Request<Body>) -> Result<Response<Body>, kube::Error> {
        let answer = async {
            let (head, body) = self.upstream.send(request).await?.into_parts();
            let bytes = body.collect().await?.to_bytes();
            Ok(Response::from_parts(head, Body::from(bytes.to_vec())))
        }
        .await;
        if let (Some(index), Ok(answer)) = (index, &answer)
            && let Some(write) = self.state().writes.get_mut(index)
        {
            write.status = Some(answer.status().as_u16());
        }
        self.unanswered.send_modify(|count| *count -= 1);
        answer
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

async fn answer(shared: Arc<Shared>, request: Request<Incoming>) -> Result<Response<Body>, Infallible> {
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
        Fate::Forwarded => shared.upstream.send(request).await,
        // In a task of its own, so that the end of the connection leaves no write half sent.
        Fate::Written(index) => {
            let shared = shared.clone();
            match tokio::spawn(async move { shared.write(index, request).await }).await {
                Ok(answered) => answered,
                Err(_) => std::future::pending().await,
            }
        }
        Fate::CutBeforeSend(index, fire) => {
            tokio::spawn(async move { shared.cut(index, fire).await });
            std::future::pending().await
        }
        Fate::CutAfterCommit(index, fire) => {
            tokio::spawn(async move {
                let _ = shared.write(Some(index), request).await;
                shared.cut(index, fire).await;
            });
            std::future::pending().await
        }
    };
    Ok(match answered {
        Ok(mut answer) => {
            end_to_end_only(answer.headers_mut());
            answer
        }
        Err(error) => bad_gateway(&error),
    })
}

/// Takes away what is between two neighbours only: each side has its own connection.
fn end_to_end_only(headers: &mut HeaderMap) {
    for name in [header::HOST, header::CONNECTION, header::TRANSFER_ENCODING, header::CONTENT_LENGTH, header::UPGRADE] {
        headers.remove(name);
    }
}

fn bad_gateway(error: &kube::Error) -> Response<Body> {
    let mut answer = Response::new(Body::from(format!("request proxy: {error}").into_bytes()));
    *answer.status_mut() = http::StatusCode::BAD_GATEWAY;
    answer
}
