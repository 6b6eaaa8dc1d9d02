//! Opening: the server's version, and the stream, created or checked.

use onex_nats::connect;
use serde_json::{Value, json};

use crate::{
    api::{Api, Described, Names},
    error::Error,
    format_one,
    inspect::Server,
    link::Servers,
    log::Log,
    settings,
    starting::{self, Room, Size, is_room},
    store::Store,
};

/// What says how large a log may become.
const STORE_FLAG: &str = "--store-bytes-max";

/// The least that a log is created with, where the server has less room than was asked for.
const BYTES_MIN: u64 = 64 << 20;

/// The room that is left for what is derived from a log, as a part of its size: a quarter.
const BESIDE_SHARE: u64 = 4;

/// Which log, and how it is created.
#[derive(Debug, Clone)]
pub struct Options {
    /// Where the server of the store is, and who we are to it.
    pub nats: connect::Options,
    /// The bucket. Its stream is `KV_<bucket>`, its only subject `$KV.<bucket>.log`.
    pub bucket: String,
    /// Copies of it, 1 to 5. Where nobody says how many: those that it has, for a new one as many as there are servers, at
    /// most 3.
    pub replicas: Option<usize>,
    /// How many bytes it may take, at least 64 MiB where nobody chose it. One that is there gets a size that was chosen,
    /// too. [`crate::Info::bytes_max`] says what became of it.
    pub size: Size,
}

/// Whether there is such a log.
pub async fn exists(options: &Options) -> Result<bool, Error> {
    let api = connected(&mut Servers::new(options.nats.clone()), &options.bucket).await?;
    match starting::describe(&api).await {
        Ok(_) => Ok(true),
        Err(Error::Missing { .. }) => Ok(false),
        Err(error) => Err(error),
    }
}

/// The log that is there, whatever its settings allow; nothing is created.
pub async fn open_existing(nats: connect::Options, bucket: &str) -> Result<(Log, Store), Error> {
    let mut servers = Servers::new(nats);
    let api = connected(&mut servers, bucket).await?;
    let described = match starting::describe(&api).await {
        Err(missing @ Error::Missing { .. }) => {
            format_one::refuse_copy(&api).await?;
            return Err(missing);
        }
        described => described?,
    };
    format_one::refuse(&api, &described).await?;
    opened(servers, api, &described).await
}

/// Checks the server, and creates the log's stream or checks that it has the right settings.
pub async fn open(options: Options) -> Result<(Log, Store), Error> {
    open_as(options, false).await
}

/// The same of a log that is made of a bucket, and not complete yet.
pub(crate) async fn open_marked(options: Options) -> Result<(Log, Store), Error> {
    open_as(options, true).await
}

async fn open_as(options: Options, marked: bool) -> Result<(Log, Store), Error> {
    let mut servers = Servers::new(options.nats.clone());
    let api = connected(&mut servers, &options.bucket).await?;
    let mut size = Some(options.size.bytes).filter(|_| options.size.chosen);
    let described = match starting::describe(&api).await {
        Err(Error::Missing { .. }) => {
            if !marked {
                format_one::refuse_copy(&api).await?;
            }
            size = create(&api, &options, marked).await?.or(size);
            starting::describe(&api).await?
        }
        described => described?,
    };
    if !marked {
        format_one::refuse(&api, &described).await?;
    }
    let is = replicas(&described);
    if let Some(want) = options.replicas.filter(|want| *want != is) {
        let stream = api.names.stream;
        return Err(Error::OtherReplicas { stream, is, want });
    }
    let opened = opened(servers, api.clone(), &described).await?;
    if let Some(bytes) = size.filter(|bytes| *bytes != described.info.bytes_max) {
        resize(&api, &described, bytes).await?;
        if options.size.chosen {
            let stream = &api.names.stream;
            tracing::info!(stream, bytes_max = bytes, "resized the log");
        }
    }
    Ok(opened)
}

pub(crate) async fn connected(servers: &mut Servers, bucket: &str) -> Result<Api, Error> {
    let client = servers.connect_any().await?;
    Server::of(&client).check()?;
    let api = Api::new(client, Names::of(bucket));
    starting::await_jetstream(&api).await?;
    Ok(api)
}

async fn opened(servers: Servers, api: Api, described: &Described) -> Result<(Log, Store), Error> {
    settings::check(&api.names, &described.config)?;
    // A stream that was just created may have no leader yet, and nobody who says what is in it.
    starting::ready(|| api.last()).await?;
    let created = described.info.created;
    let store = Store::new(servers.clone(), api, replicas(described), created);
    Ok((Log::new(servers, store.clone()), store))
}

/// How many copies the stream has.
fn replicas(described: &Described) -> usize {
    let replicas = described.config.get("num_replicas").and_then(Value::as_u64);
    let replicas = replicas.and_then(|replicas| usize::try_from(replicas).ok());
    replicas.unwrap_or(1)
}

/// Lets a log that is there take so many bytes. What is in it stays, also where that is more.
async fn resize(api: &Api, described: &Described, bytes_max: u64) -> Result<(), Error> {
    let mut config = described.config.clone();
    config.insert("max_bytes".to_owned(), json!(bytes_max));
    let stream = &api.names.stream;
    let subject = format!("STREAM.UPDATE.{stream}");
    let config = Value::Object(config);
    let update = || api.request::<Value>("STREAM.UPDATE", subject.clone(), &config);
    match starting::ready(update).await {
        Err(Error::Refused {
            code, description, ..
        }) if is_room(code, &description) => Err(Error::NoRoom {
            stream: stream.clone(),
            bytes: bytes_max,
            description,
            flag: STORE_FLAG,
        }),
        updated => updated.map(|_| ()),
    }
}

/// Creates it; how large it shall be, unless another instance was faster. A size that nobody chose is made together with
/// the room for what is derived from the log, which is given back at once: else the log could take all that there is.
async fn create(api: &Api, options: &Options, marked: bool) -> Result<Option<u64>, Error> {
    let beside = |bytes| {
        let leave = !options.size.chosen;
        if leave { bytes / BESIDE_SHARE } else { 0 }
    };
    let wanted = |copies, bytes| {
        let mut wanted = settings::wanted(&api.names, copies, bytes + beside(bytes));
        if marked {
            format_one::mark(&mut wanted);
        }
        wanted
    };
    let room = Room {
        size: options.size,
        bytes_min: BYTES_MIN,
        flag: STORE_FLAG,
    };
    starting::create_in(api, wanted, options.replicas, room).await
}
