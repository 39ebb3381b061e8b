//! Owns undoing what a crashed process had recorded.

use std::path::Path;

use netlink_packet_route::RouteNetlinkMessage as Message;
use netlink_packet_route::link::{InfoKind, LinkAttribute, LinkInfo, LinkMessage};

use super::{Change, boot_id, lock, read, remove, write};
use crate::error::{Error, Result};
use crate::host::netlink::{Mode, Netlink};
use crate::host::netns::{self, NetNs};
use crate::host::{bpf_fs, cgroup, ports};
use crate::keeper::Keeper;

/// What [`recover`] did.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Recovered {
    /// The changes that were undone or had never happened, latest first. Empty when there was nothing to recover.
    pub undone: Vec<Change>,
}

/// Undoes what the journal in `run_dir` says a crashed process has changed, latest change first, and removes the journal.
/// Nothing happens without a journal. [`Error::Conflict`] when its owner still runs. Goes on past a change that cannot be
/// undone, keeps that one in the journal, and returns the first such error.
pub fn recover(run_dir: &Path) -> Result<Recovered> {
    if !run_dir.is_dir() {
        return Ok(Recovered::default());
    }
    let _lock = lock(run_dir)?;
    let Some(mut document) = read(run_dir)? else { return Ok(Recovered::default()) };
    if document.owner.alive() {
        return Err(Error::Conflict {
            what: format!("run directory {}", run_dir.display()),
            holder: format!("the running process {}", document.owner.describe()),
        });
    }
    let mut recovered = Recovered::default();
    if document.boot_id != boot_id()? {
        // Names, sysctls and cgroups ended with that boot; what bears their names now is not ours.
        remove(run_dir)?;
        return Ok(recovered);
    }
    let (mut kept, mut first_error) = (Vec::new(), None);
    while let Some(change) = document.changes.pop() {
        match undo(&change) {
            Ok(()) => recovered.undone.push(change),
            Err(error) => {
                kept.push(change);
                first_error.get_or_insert(error);
            }
        }
    }
    match first_error {
        None => remove(run_dir).map(|()| recovered),
        Some(error) => {
            kept.reverse();
            document.changes = kept;
            write(run_dir, &document)?;
            Err(error)
        }
    }
}

fn undo(change: &Change) -> Result<()> {
    match change {
        Change::NetNs { name } => undo_namespace(name),
        Change::ReservedPorts { netns_cookie, ranges, .. } => match find_namespace(*netns_cookie)? {
            Some(namespace) => namespace.run(|| ports::release_reserved_here(ranges)),
            // The sysctl went with its namespace.
            None => Ok(()),
        },
        Change::Cgroup { directory } => cgroup::recover_directory(directory),
        Change::BpfFs { directory } => bpf_fs::recover_directory(directory),
        Change::Keeper { run_dir } => Keeper::find(run_dir)?.map_or(Ok(()), Keeper::stop),
    }
}

/// Removes the namespace's virtual devices at once (a namespace dies only some time after its last user, and its VXLAN
/// device would block the network id until then), then its name.
pub(crate) fn undo_namespace(name: &str) -> Result<()> {
    match NetNs::open(name) {
        Ok(namespace) => {
            // A name that was never mounted, or a damaged namespace: deleting the name is all that can be done.
            let _ = Netlink::open(&namespace).and_then(|mut netlink| delete_virtual_links(&mut netlink));
        }
        Err(Error::NotFound { .. }) => return Ok(()),
        Err(error) => return Err(error),
    }
    netns::delete(name)
}

fn delete_virtual_links(netlink: &mut Netlink) -> Result<()> {
    for message in netlink.dump("listing devices", Message::GetLink(LinkMessage::default()))? {
        if let Message::NewLink(link) = message
            && is_ours(&link)
        {
            let mut request = LinkMessage::default();
            request.header.index = link.header.index;
            // The other end of a pair may have taken it along.
            let _ = netlink.request("removing a device", Message::DelLink(request), Mode::Plain);
        }
    }
    Ok(())
}

fn is_ours(link: &LinkMessage) -> bool {
    link.attributes.iter().any(|attribute| match attribute {
        LinkAttribute::LinkInfo(infos) => {
            infos.iter().any(|info| matches!(info, LinkInfo::Kind(InfoKind::Vxlan | InfoKind::Veth)))
        }
        _ => false,
    })
}

/// The namespace with this cookie, if it is the caller's or has a name.
fn find_namespace(cookie: u64) -> Result<Option<NetNs>> {
    let current = NetNs::current()?;
    if current.cookie()? == cookie {
        return Ok(Some(current));
    }
    for name in netns::list()? {
        // Names come and go while we look, and files that are no namespace may lie there.
        if let Ok(namespace) = NetNs::open(&name)
            && namespace.cookie().is_ok_and(|found| found == cookie)
        {
            return Ok(Some(namespace));
        }
    }
    Ok(None)
}
