//! What a Service is in a cluster: connections to one port go to one of several replicas, of those that say they are ready.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

/// How often replicas are asked whether they are ready; in a cluster that takes longer.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// A Service on 127.0.0.1. It ends when it is dropped; connections that are open go on.
pub struct Balancer {
    replicas: Arc<Mutex<BTreeMap<u16, Replica>>>,
    _tasks: JoinSet<()>,
}

#[derive(Clone, Copy)]
struct Replica {
    health_port: u16,
    ready: bool,
}

impl Balancer {
    /// Listens on a port.
    pub async fn listen(port: u16) -> std::io::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", port)).await?;
        let replicas: Arc<Mutex<BTreeMap<u16, Replica>>> = Arc::default();
        let mut tasks = JoinSet::new();
        tasks.spawn(look(Arc::clone(&replicas)));
        tasks.spawn(accept(listener, Arc::clone(&replicas)));
        Ok(Self { replicas, _tasks: tasks })
    }

    /// Adds a replica, once it is ready.
    pub fn add(&self, port: u16, health_port: u16) {
        lock(&self.replicas).insert(port, Replica { health_port, ready: false });
    }

    /// Forgets a replica.
    pub fn remove(&self, port: u16) {
        lock(&self.replicas).remove(&port);
    }

    /// How many replicas are ready.
    pub fn ready(&self) -> usize {
        lock(&self.replicas).values().filter(|replica| replica.ready).count()
    }
}

fn lock<T>(shared: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn look(replicas: Arc<Mutex<BTreeMap<u16, Replica>>>) {
    loop {
        let all: Vec<(u16, u16)> = lock(&replicas).iter().map(|(port, replica)| (*port, replica.health_port)).collect();
        for (port, health_port) in all {
            let ready = crate::operator::is_ready_at(health_port).await;
            if let Some(replica) = lock(&replicas).get_mut(&port) {
                replica.ready = ready;
            }
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

async fn accept(listener: TcpListener, replicas: Arc<Mutex<BTreeMap<u16, Replica>>>) {
    let mut next = 0_usize;
    while let Ok((mut client, _)) = listener.accept().await {
        let ready: Vec<u16> =
            lock(&replicas).iter().filter(|(_, replica)| replica.ready).map(|(port, _)| *port).collect();
        next = next.wrapping_add(1);
        let Some(port) = ready.get(next % ready.len().max(1)).copied() else { continue };
        tokio::spawn(async move {
            if let Ok(mut replica) = TcpStream::connect(("127.0.0.1", port)).await {
                let _ = tokio::io::copy_bidirectional(&mut client, &mut replica).await;
            }
        });
    }
}
