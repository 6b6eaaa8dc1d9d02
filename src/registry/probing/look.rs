//! Who uses a port of this host, by the kernel's tables: nothing is bound.

use onex_machine::{listeners, used_ports};
use onex_types::ids::{Port, Transport};
use tokio::{sync::Semaphore, task::spawn_blocking};

use crate::protocol::probe::{SeenPort, USED_PORTS_MAX};

use super::bind::ephemeral_range;

/// How many at once look at the kernel's tables: with many sockets and processes that takes its time.
static LOOKS: Semaphore = Semaphore::const_new(2);

/// What the kernel says of it; none where it does not say.
pub(super) async fn look(transport: Transport, port: Port) -> Option<SeenPort> {
    let permit = LOOKS.acquire().await.ok()?;
    let looked = spawn_blocking(move || {
        // It looks to the end, whether or not somebody still waits for it.
        let _permit = permit;
        let used = used_ports(transport)?.into_iter();
        Some(SeenPort {
            listeners: listeners(transport, port)?,
            used: used.take(USED_PORTS_MAX).collect(),
            ephemeral: ephemeral_range().map(|ephemeral| ephemeral.range),
        })
    });
    looked.await.ok().flatten()
}
