//! The flags that say where the log is kept, where that is another server or account than requests come from.

use std::path::PathBuf;

use clap::Args;

use crate::connect::Options;

use super::connection::{Target, TargetFlags, some_url};

/// What says where it is.
const BY_NATS: &str = "--store-nats or ONEX_STORE_NATS";
/// What says who we are to it.
const BY_CREDS: &str = "--store-creds or ONEX_STORE_CREDS";

/// What would say something else.
const FLAGS: TargetFlags = TargetFlags {
    url: "--store-nats URL",
    server: "--store-nats URL",
    who: "--store-creds",
    start: "",
};

/// Where the log is, and who we are to it.
#[derive(Debug, Clone, Args)]
pub(super) struct Store {
    /// URL of the NATS server, or of the account on it, that keeps the log: nobody else needs access to it [default: that of
    /// --nats]. Events and the view stay where requests come from.
    #[arg(long, env = "ONEX_STORE_NATS", value_name = "URL", value_parser = some_url)]
    store_nats: Option<String>,
    /// Credentials file for the log [default: that of --creds, unless --store-nats is given].
    #[arg(long, env = "ONEX_STORE_CREDS", value_name = "FILE")]
    store_creds: Option<PathBuf>,
}

impl Store {
    /// How the log is reached, where that is not how requests are; whom to trust is the same.
    pub(super) fn options(&self, bus: &Options) -> Option<Options> {
        let server = match &self.store_nats {
            // Credentials for one server are not shown to another.
            Some(url) => Options {
                tls_ca: bus.tls_ca.clone(),
                tls_cert: bus.tls_cert.clone(),
                ..Options::at(url)
            },
            None => bus.clone(),
        };
        match &self.store_creds {
            Some(creds) => Some(server.with_creds(creds.clone())),
            None => self.store_nats.is_some().then_some(server),
        }
    }

    /// What says where it is, by the names of the arguments; of a URL what may be shown.
    pub(super) fn places(&self) -> [(&'static str, Option<String>); 2] {
        let url = self.store_nats.as_ref();
        let creds = self.store_creds.as_ref();
        [
            ("store_nats", url.map(|url| Options::at(url).shown())),
            ("store_creds", creds.map(|path| path.display().to_string())),
        ]
    }

    /// The same, with what says so.
    pub(super) fn target(&self, bus: &Options) -> Option<Target> {
        let options = self.options(bus)?;
        let by_url = self.store_nats.is_some();
        let by = if by_url { BY_NATS } else { BY_CREDS };
        let creds = self.store_creds.clone();
        let files = creds.into_iter().map(|path| (path, BY_CREDS)).collect();
        Some(Target::of(options, format!("from {by}"), files, &FLAGS))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn store(url: Option<&str>, creds: Option<&str>) -> Store {
        Store {
            store_nats: url.map(ToOwned::to_owned),
            store_creds: creds.map(PathBuf::from),
        }
    }

    #[test]
    fn credentials_of_one_server_are_not_shown_to_another() {
        let bus = Options {
            tls_ca: Some("ca.pem".into()),
            token: Some("secret".to_owned()),
            ..Options::at("nats://one:4222").with_creds("bus.creds".into())
        };
        assert_eq!(store(None, None).options(&bus), None);
        let other = Options {
            tls_ca: Some("ca.pem".into()),
            ..Options::at("nats://two:4222")
        };
        let two = store(Some("nats://two:4222"), None);
        assert_eq!(two.options(&bus), Some(other.clone()));
        let two = store(Some("nats://two:4222"), Some("log.creds"));
        assert_eq!(
            two.options(&bus),
            Some(other.with_creds("log.creds".into()))
        );
        let same = store(None, Some("log.creds")).options(&bus).unwrap();
        assert_eq!((same.url.as_str(), same.token), ("nats://one:4222", None));
    }
}
