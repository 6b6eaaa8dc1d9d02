//! Questions to the store and trimming, from any task, over a connection of their own.

use std::sync::Arc;

use jiff::Timestamp;
use onex_types::entry::Sequence;
use tokio::sync::Mutex;

use crate::{
    api::{Api, Found, Info, Names},
    error::Error,
    link::Servers,
    settings,
};

/// Entries that one purge removes, at most: appends wait meanwhile (19 ms for 20,000).
const PURGE_ENTRIES_MAX: u64 = 10_000;

/// The log's stream, to be asked and trimmed. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Store {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    names: Names,
    replicas: usize,
    created: Timestamp,
    link: Mutex<Link>,
}

#[derive(Debug)]
struct Link {
    servers: Servers,
    api: Option<Api>,
}

impl Store {
    pub(crate) fn new(servers: Servers, api: Api, replicas: usize, created: Timestamp) -> Self {
        Self {
            shared: Arc::new(Shared {
                names: api.names.clone(),
                replicas,
                created,
                link: Mutex::new(Link {
                    servers,
                    api: Some(api),
                }),
            }),
        }
    }

    /// Copies that the stream had when it was opened.
    pub fn replicas(&self) -> usize {
        self.shared.replicas
    }

    pub(crate) fn names(&self) -> &Names {
        &self.shared.names
    }

    /// When the stream was created that was opened.
    pub fn created(&self) -> Timestamp {
        self.shared.created
    }

    /// Checks that the stream is still the one that was opened, with the right settings, and describes it.
    pub async fn check(&self) -> Result<Info, Error> {
        let Shared { names, created, .. } = &*self.shared;
        let created = *created;
        let identify = move |api: Api| async move { api.insisting().identify(created).await };
        let described = self.ask(identify).await?;
        settings::check(names, &described.config)?;
        Ok(described.info)
    }

    /// The message at a sequence, from the stream's leader; absent where it was trimmed or never written. It proves nothing
    /// by itself: see [`Info`].
    pub async fn get(&self, sequence: Sequence) -> Result<Option<Found>, Error> {
        self.ask(move |api| async move { api.insisting().get(sequence).await })
            .await
    }

    /// The last message, from the stream's leader.
    pub async fn last(&self) -> Result<Option<Found>, Error> {
        self.ask(|api| async move { api.insisting().last().await })
            .await
    }

    /// Removes every message before `below`, in pieces, and says how many there were. Another stream of the same name is
    /// left alone, and so is one that does not reach as far as `below`. A request that arrives late moves no numbers.
    pub async fn purge_below(&self, below: Sequence) -> Result<u64, Error> {
        let created = self.shared.created;
        let mut purged = 0;
        loop {
            let done = move |api: Api| async move {
                let info = api.identify(created).await?.info;
                if below > info.last.next() {
                    return Err(Error::Behind {
                        wanted: below,
                        last: info.last,
                    });
                }
                if info.first >= below {
                    return Ok((0, true));
                }
                let piece = below.min(Sequence(info.first.0.saturating_add(PURGE_ENTRIES_MAX)));
                Ok((api.purge(piece).await?, piece == below))
            };
            let (count, last) = self.ask(done).await?;
            purged += count;
            if last {
                return Ok(purged);
            }
        }
    }

    /// Removes the stream if it has no message: one that had some can only be begun anew.
    pub async fn remove_empty(&self) -> Result<(), Error> {
        let created = self.shared.created;
        let removed = move |api: Api| async move {
            if api.identify(created).await?.info.messages > 0 {
                return Ok(());
            }
            api.remove().await
        };
        self.ask(removed).await
    }

    async fn ask<T, A: Future<Output = Result<T, Error>>>(
        &self,
        question: impl Fn(Api) -> A,
    ) -> Result<T, Error> {
        let answer = question(self.api().await?).await;
        match answer {
            // The connection may have ended long ago. All that is asked here may be asked twice.
            Err(Error::Ended { .. }) => {
                self.turn().await;
                question(self.api().await?).await
            }
            // A server that does not answer may be frozen: the next question goes to another one.
            Err(Error::Silent { .. } | Error::NoResponders { .. }) => {
                self.turn().await;
                answer
            }
            answer => answer,
        }
    }

    async fn turn(&self) {
        let mut link = self.shared.link.lock().await;
        link.api = None;
        link.servers.turn();
    }

    async fn api(&self) -> Result<Api, Error> {
        let mut link = self.shared.link.lock().await;
        if let Some(api) = &link.api {
            return Ok(api.clone());
        }
        let client = link.servers.connect_any().await?;
        let api = Api::new(client, self.shared.names.clone());
        link.api = Some(api.clone());
        Ok(api)
    }
}
