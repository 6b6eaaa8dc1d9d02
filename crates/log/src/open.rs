//! Opening: the server's version, and the stream, created or checked.

use onex_nats::{
    connect,
    server_version::{SERVER_VERSION_MIN, Version},
};
use serde_json::{Value, json};

use crate::{
    api::{Api, Described, Names, code},
    error::Error,
    link::Servers,
    log::Log,
    settings,
    store::Store,
};

/// The least that a log is created with, where the server has less room than was asked for.
const BYTES_MIN: u64 = 64 << 20;

/// Which log, and how it is created.
#[derive(Debug, Clone)]
pub struct Options {
    /// Where the server of the store is, and who we are to it.
    pub nats: connect::Options,
    /// The bucket. Its stream is `KV_<bucket>`, its only subject `$KV.<bucket>.log`.
    pub bucket: String,
    /// Copies of it: 1, 3 or 5.
    pub replicas: usize,
    /// How many bytes it may take where it is created here. The server sets the room aside; where it has less, it is halved
    /// until it fits, at least 64 MiB. [`crate::Info::bytes_max`] says what became of it.
    pub bytes_max: u64,
}

/// Checks the server, and creates the log's stream or checks that it has the right settings.
pub async fn open(options: Options) -> Result<(Log, Store), Error> {
    let mut servers = Servers::new(options.nats.clone());
    let client = servers.connect_any().await?;
    let info = client.server_info();
    let new_enough = |version: Version| version >= SERVER_VERSION_MIN;
    if !info.version.parse().is_ok_and(new_enough) {
        return Err(Error::ServerTooOld {
            server: format!("{}:{}", info.host, info.port),
            version: info.version,
        });
    }
    let api = Api::new(client, Names::of(&options.bucket));
    api.account().await?;
    let described = match api.describe(None).await {
        Err(Error::Missing { .. }) => {
            create(&api, &options).await?;
            api.describe(None).await?
        }
        described => described?,
    };
    refuse_format_one(&api, &described).await?;
    settings::check(&api.names, options.replicas, &described.config)?;
    let store = Store::new(
        servers.clone(),
        api,
        options.replicas,
        described.info.created,
    );
    Ok((Log::new(servers, store.clone()), store))
}

async fn create(api: &Api, options: &Options) -> Result<(), Error> {
    let mut bytes = options.bytes_max;
    loop {
        let wanted = settings::wanted(&api.names, options.replicas, bytes);
        let subject = format!("STREAM.CREATE.{}", api.names.stream);
        let created = api
            .request::<Value>("STREAM.CREATE", subject, &wanted)
            .await;
        let Err(Error::Refused {
            code, description, ..
        }) = created
        else {
            created?;
            tracing::info!(stream = %api.names.stream, replicas = options.replicas, bytes_max = bytes, "created the log");
            return Ok(());
        };
        match code {
            // Another instance was faster, with other settings; whether they will do is checked next.
            code::STREAM_NAME_IN_USE => return Ok(()),
            code if is_room(code, &description) => {
                if bytes / 2 < BYTES_MIN {
                    return Err(Error::NoRoom {
                        stream: api.names.stream.clone(),
                        bytes,
                        description,
                    });
                }
                bytes /= 2;
                tracing::warn!(
                    bytes_max = bytes,
                    description,
                    "the server has less room than was asked for"
                );
            }
            code => {
                return Err(Error::Refused {
                    request: "STREAM.CREATE",
                    code,
                    description,
                });
            }
        }
    }
}

/// Whether less could be had. Servers of a cluster name many reasons for not placing a stream by one number.
fn is_room(code: u64, description: &str) -> bool {
    match code {
        code::STORAGE_RESOURCES_EXCEEDED
        | code::ACCOUNT_RESOURCES_EXCEEDED
        | code::INSUFFICIENT_RESOURCES => true,
        code::CLUSTER_NO_PEERS => description.contains("insufficient storage"),
        _ => false,
    }
}

/// The first format kept one key for each record, its own among them.
async fn refuse_format_one(api: &Api, described: &Described) -> Result<(), Error> {
    let bucket = &api.names.bucket;
    if described.config.get("subjects") != Some(&json!([format!("$KV.{bucket}.>")])) {
        return Ok(());
    }
    let own = api.describe(Some(&format!("$KV.{bucket}.sys.>"))).await?;
    if own.subjects.is_empty() {
        return Ok(());
    }
    Err(Error::FormatOne {
        bucket: bucket.clone(),
    })
}
