//! A wire to a NATS server that can be cut, for one client, while everybody else goes on; or on which the server is not heard
//! any more.

use std::net::{Ipv4Addr, SocketAddr};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use super::PATIENCE;

/// The connection of a registry over which it reads and writes its log.
const STORE: &str = "\"name\":\"onex-registry store\"";

/// How the wire is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Whole,
    /// A registry does not hear what becomes of its log.
    Silent,
    /// What the client says goes through up to the first piece with that text.
    #[allow(dead_code, reason = "each test file uses a part of it")]
    HeldAfter(&'static str),
    /// Nothing that the client says goes through.
    Held,
    /// Nothing goes through, whoever says it.
    #[allow(dead_code, reason = "each test file uses a part of it")]
    Stopped,
    Cut,
}

pub(crate) struct Proxy {
    at: SocketAddr,
    state: watch::Sender<State>,
}

impl Proxy {
    /// To the server at that URL.
    pub(crate) async fn to(url: &str) -> Self {
        let server = url.trim_start_matches("nats://").to_owned();
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let at = listener.local_addr().unwrap();
        let state = watch::Sender::new(State::Whole);
        let shared = state.clone();
        tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                if *shared.borrow() == State::Cut {
                    continue;
                }
                tokio::spawn(carry(near, server.clone(), shared.clone()));
            }
        });
        Self { at, state }
    }

    pub(crate) fn url(&self) -> String {
        format!("nats://{}", self.at)
    }

    /// Ends all connections, and each that comes.
    pub(crate) fn cut(&self) {
        self.state.send_replace(State::Cut);
    }

    /// What a registry writes into its log arrives, and it hears nothing of that; everything else it hears.
    #[allow(dead_code, reason = "each test file uses a part of it")]
    pub(crate) fn silence_store(&self) {
        self.state.send_replace(State::Silent);
    }

    /// Holds back what the client says after the first piece with that text.
    #[allow(dead_code, reason = "each test file uses a part of it")]
    pub(crate) fn hold_after(&self, text: &'static str) {
        self.state.send_replace(State::HeldAfter(text));
    }

    /// Waits until that piece has gone through, and nothing after it does.
    #[allow(dead_code, reason = "each test file uses a part of it")]
    pub(crate) async fn held(&self) {
        let mut state = self.state.subscribe();
        let held = state.wait_for(|state| *state == State::Held);
        let held = tokio::time::timeout(PATIENCE, held).await;
        held.expect("the client did not say that").unwrap();
    }

    /// Lets nothing through, and says so to nobody: as a network that loses everything.
    #[allow(dead_code, reason = "each test file uses a part of it")]
    pub(crate) fn stop(&self) {
        self.state.send_replace(State::Stopped);
    }

    /// Lets everything through again, what was held back first.
    pub(crate) fn mend(&self) {
        self.state.send_replace(State::Whole);
    }
}

async fn carry(near: TcpStream, server: String, state: watch::Sender<State>) {
    let Ok(far) = TcpStream::connect(server).await else {
        return;
    };
    let (near_in, near_out) = near.into_split();
    let (far_in, far_out) = far.into_split();
    let mut until_cut = state.subscribe();
    let (is_store, known) = watch::channel(false);
    tokio::select! {
        () = say(near_in, far_out, &state, &is_store) => {}
        () = hear(far_in, near_out, state.subscribe(), known) => {}
        () = async { drop(until_cut.wait_for(|state| *state == State::Cut).await) } => {}
    }
}

/// What the client says, which includes what it is.
async fn say(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    state: &watch::Sender<State>,
    is_store: &watch::Sender<bool>,
) {
    let mut buffer = vec![0; 64 * 1024];
    let mut changes = state.subscribe();
    while let Ok(count @ 1..) = from.read(&mut buffer).await {
        let said = &buffer[..count];
        if said.starts_with(b"CONNECT ") {
            is_store.send_replace(String::from_utf8_lossy(said).contains(STORE));
        }
        let goes = |state: &State| !matches!(state, State::Held | State::Stopped);
        drop(changes.wait_for(goes).await);
        if to.write_all(said).await.is_err() {
            return;
        }
        state.send_if_modified(|state| {
            let holds = matches!(state, State::HeldAfter(text)
                if said.windows(text.len()).any(|part| part == text.as_bytes()));
            if holds {
                *state = State::Held;
            }
            holds
        });
    }
}

async fn hear(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    mut state: watch::Receiver<State>,
    is_store: watch::Receiver<bool>,
) {
    let mut buffer = vec![0; 64 * 1024];
    while let Ok(count @ 1..) = from.read(&mut buffer).await {
        let is_heard = |state: &State| match state {
            State::Silent => !*is_store.borrow(),
            State::Stopped => false,
            _ => true,
        };
        let heard = async { drop(state.wait_for(is_heard).await) };
        let heard = tokio::time::timeout(PATIENCE, heard).await;
        if heard.is_err() || to.write_all(&buffer[..count]).await.is_err() {
            return;
        }
    }
}
