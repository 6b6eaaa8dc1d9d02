//! The flags by which another command reaches the same server as the same user.

use super::{
    connection::{Flags, Target},
    typed::argument,
};

impl Flags {
    /// The flags for another `onex` command, each behind a space; nothing where none was given.
    pub(super) fn repeated(&self) -> String {
        let given = self.given().into_iter();
        let given = given.filter_map(|(flag, value)| Some(argument((flag, value?))));
        given.collect()
    }
}

impl Target {
    /// The flags for an `onex serve` on the same server.
    pub(super) fn for_serve(&self) -> String {
        self.named_by("--nats", |flag| flag)
    }

    /// The flags for the `nats` command on the same server.
    pub(super) fn for_nats(&self) -> String {
        self.named_by("--server", |flag| match flag {
            "--tls-ca" => "--tlsca",
            "--tls-cert" => "--tlscert",
            "--tls-key" => "--tlskey",
            same => same,
        })
    }

    fn named_by(&self, url: &'static str, name: impl Fn(&'static str) -> &'static str) -> String {
        let server = match &self.context {
            Some(context) => ("--context", context.clone()),
            None => (url, self.options.shown()),
        };
        let files = self.files_by_flag();
        let files = files.map(|(flag, path)| (name(flag), path.display().to_string()));
        std::iter::once(server).chain(files).map(argument).collect()
    }
}
