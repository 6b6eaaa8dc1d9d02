//! What the server keeps below the data folder, and the configuration that it runs with.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::net::SocketAddr;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use super::error::Error;

/// How much of a log is read for its last lines.
const TAIL_BYTES_MAX: u64 = 16 * 1024;

/// How many of its last lines a message repeats.
const TAIL_LINES_MAX: usize = 5;

/// What the lock says of a registry that is about to end, behind the two process ids.
const STOPPING: &str = "stopping";

/// The processes that have a folder locked.
pub(super) struct Holder {
    pub(super) server: i32,
    pub(super) registry: i32,
    /// Whether both are about to end.
    pub(super) is_stopping: bool,
}

/// The server's own folder inside the data folder.
#[derive(Debug, Clone)]
pub(super) struct Folder(PathBuf);

impl Folder {
    /// The folder that belongs to the data folder `data`; nothing is made yet.
    pub(super) fn of(data: &Path) -> Result<Self, Error> {
        let root = std::path::absolute(data.join("nats")).map_err(data_error(data))?;
        if root.to_str().is_none() {
            return Err(Error::DataName { path: root });
        }
        Ok(Self(root))
    }

    /// The folder that [`Folder::path`] named in the process that started this one.
    pub(super) fn at(path: PathBuf) -> Self {
        Self(path)
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }

    /// Locked for as long as a server runs here.
    pub(super) fn lock(&self) -> PathBuf {
        self.0.join("lock")
    }

    /// Notes for whoever finds the folder locked that the registry is about to end.
    pub(super) fn note_stopping(&self) {
        let lock = OpenOptions::new().append(true).open(self.lock());
        // Without the note the next one is refused at once.
        let _ = lock.and_then(|mut lock| write!(lock, "{STOPPING} "));
    }

    /// Who has it locked, as far as is known.
    pub(super) fn holder(&self) -> Option<Holder> {
        let text = fs::read_to_string(self.lock()).ok()?;
        let mut words = text.split_whitespace();
        let mut id = || words.next()?.parse().ok();
        Some(Holder {
            server: id()?,
            registry: id()?,
            is_stopping: words.next() == Some(STOPPING),
        })
    }

    pub(super) fn config(&self) -> PathBuf {
        self.0.join("nats-server.conf")
    }

    pub(super) fn log(&self) -> PathBuf {
        self.0.join("nats-server.log")
    }

    /// What the server says before it has read its configuration, or when it panics.
    pub(super) fn output(&self) -> PathBuf {
        self.0.join("nats-server.out")
    }

    /// Where the server keeps its streams.
    fn streams(&self) -> PathBuf {
        self.0.join("jetstream")
    }

    /// Where the server says what it listens on.
    pub(super) fn ports(&self) -> PathBuf {
        self.0.join("ports")
    }

    /// Makes the folder, readable by its owner only: it holds every message of the bus.
    pub(super) fn create(&self) -> Result<(), Error> {
        create(&self.0)?;
        create(&self.ports())
    }

    /// Readies the folder for a new server. Only for who knows that the lock is held for it.
    pub(super) fn prepare(&self, listen: SocketAddr) -> Result<(), Error> {
        let ports = self.ports();
        // A killed server leaves its file behind, and process ids come again.
        for entry in fs::read_dir(&ports).map_err(data_error(&ports))? {
            let stale = entry.map_err(data_error(&ports))?.path();
            fs::remove_file(&stale).map_err(data_error(&stale))?;
        }
        let config = self.config();
        fs::write(&config, self.render(listen)).map_err(data_error(&config))?;
        self.try_streams()
    }

    /// Tries what the server will do first: what is wrong with the folder is said better here than by how it ends.
    fn try_streams(&self) -> Result<(), Error> {
        let (log, streams) = (self.log(), self.streams());
        let open = OpenOptions::new().append(true).create(true).open(&log);
        open.map_err(data_error(&log))?;
        create(&streams)?;
        let tried = streams.join("onex-serve.try");
        fs::write(&tried, "x").map_err(data_error(&tried))?;
        fs::remove_file(&tried).map_err(data_error(&tried))
    }

    fn render(&self, listen: SocketAddr) -> String {
        // The server's word for "any free port".
        let port = match listen.port() {
            0 => -1,
            port => i32::from(port),
        };
        format!(
            "# Written by `onex serve` at every start; changes are lost.\n\
             server_name: \"onex-embedded\"\n\
             host: {host}\n\
             port: {port}\n\
             ports_file_dir: {ports}\n\
             # A stopped registry leaves its queue group after ten seconds.\n\
             ping_interval: \"5s\"\n\
             ping_max: 2\n\
             log_file: {log}\n\
             logfile_size_limit: 10MB\n\
             logfile_max_num: 3\n\
             jetstream {{\n  \
               store_dir: {store}\n  \
               # What was acknowledged is on the disk; the default loses up to two minutes in a power cut.\n  \
               sync_interval: always\n\
             }}\n",
            host = quote(&listen.ip().to_string()),
            ports = quote(&self.ports().to_string_lossy()),
            log = quote(&self.log().to_string_lossy()),
            store = quote(&self.0.to_string_lossy()),
        )
    }

    /// The last lines of what the server said, for a message.
    pub(super) fn last_words(&self) -> String {
        let mut lines = Vec::new();
        for path in [self.output(), self.log()] {
            // A missing log has nothing to say, and an unreadable one must not hide why it was wanted.
            let text = tail(&path).unwrap_or_default();
            let from = lines.len();
            lines.extend(
                text.lines()
                    .rev()
                    .take(TAIL_LINES_MAX)
                    .map(|line| line.trim_end().to_owned()),
            );
            if let Some(added) = lines.get_mut(from..) {
                added.reverse();
            }
        }
        if lines.is_empty() {
            return format!("it said nothing in {}", self.log().display());
        }
        format!("last in {}: {}", self.log().display(), lines.join(" | "))
    }
}

/// Makes a folder, for its owner only.
fn create(path: &Path) -> Result<(), Error> {
    let made = DirBuilder::new().recursive(true).mode(0o700).create(path);
    made.map_err(data_error(path))
}

/// The error for an I/O failure at `path`.
pub(super) fn data_error(path: &Path) -> impl FnOnce(io::Error) -> Error {
    let path = path.to_owned();
    move |source| Error::Data { path, source }
}

fn tail(path: &Path) -> io::Result<String> {
    let mut file = File::open(path)?;
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(TAIL_BYTES_MAX)))?;
    let mut bytes = Vec::new();
    file.take(TAIL_BYTES_MAX).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// A string as the server's configuration language writes it.
fn quote(text: &str) -> String {
    let mut quoted = String::from("\"");
    for character in text.chars() {
        match character {
            '"' | '\\' => quoted.extend(['\\', character]),
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            '\t' => quoted.push_str("\\t"),
            other => quoted.push(other),
        }
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_free_port_is_minus_one() {
        let folder = Folder::of(Path::new("/data")).unwrap();
        let text = folder.render("[::1]:0".parse().unwrap());
        assert!(text.contains("\nhost: \"::1\"\nport: -1\n"), "{text}");
        assert!(
            folder
                .render("127.0.0.1:4222".parse().unwrap())
                .contains("\nport: 4222\n")
        );
    }

    #[test]
    fn quotes_what_the_language_gives_meaning_to() {
        assert_eq!(quote("/a b/\"c\"\\d"), r#""/a b/\"c\"\\d""#);
    }

    #[test]
    fn last_words_are_few_and_in_order() {
        let root = tempfile::tempdir().unwrap();
        let folder = Folder::of(root.path()).unwrap();
        folder.create().unwrap();
        assert!(folder.last_words().starts_with("it said nothing in "));
        let lines: Vec<_> = (0..5000).map(|n| format!("line {n}\n")).collect();
        fs::write(folder.log(), lines.concat()).unwrap();
        fs::write(folder.output(), "panic: oh\n").unwrap();
        let words = folder.last_words();
        assert!(
            words.ends_with(
                ": panic: oh | line 4995 | line 4996 | line 4997 | line 4998 | line 4999"
            ),
            "{words}"
        );
    }
}
