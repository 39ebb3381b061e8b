//! What `slimfast.node` exports: `open`, `probe`, `recover`, and the class that `open` returns.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

use napi::bindgen_prelude::{AsyncTask, BigInt, Function};
use napi::threadsafe_function::ThreadsafeFunctionCallMode;
use napi_derive::napi;
use slimfast_core::node::Node;
use slimfast_core::{host, probe};

use crate::dto;
use crate::errors::to_js;
use crate::job::{Job, job};

/// Events that JavaScript gets in one call, so that one batch does not hold its loop up for long.
const BATCH: usize = 1024;

#[napi]
pub fn open(config: dto::CoreConfig) -> AsyncTask<Job<NativeNode>> {
    job(|| Ok(NativeNode { node: Arc::new(Node::open(config.try_into()?)?) }))
}

#[napi(js_name = "probe")]
pub fn probe_host() -> AsyncTask<Job<Vec<dto::Check>>> {
    job(|| Ok(probe::probe().into_iter().map(dto::Check::from).collect()))
}

#[napi]
pub fn recover(run_dir: String) -> AsyncTask<Job<()>> {
    job(move || host::recover(&PathBuf::from(run_dir)).map(drop))
}

#[napi]
pub struct NativeNode {
    node: Arc<Node>,
}

#[napi]
impl NativeNode {
    #[napi]
    pub fn apply_state(&self, change: dto::StateChange) -> AsyncTask<Job<()>> {
        let node = Arc::clone(&self.node);
        job(move || node.apply(change.try_into()?))
    }

    #[napi]
    pub fn reserve_ports(&self, ranges: Vec<dto::PortRange>) -> AsyncTask<Job<()>> {
        let node = Arc::clone(&self.node);
        job(move || {
            let ranges: Result<Vec<_>, _> = ranges.into_iter().map(host::ports::PortRange::try_from).collect();
            node.reserve_ports(&ranges?)
        })
    }

    #[napi]
    pub fn attach_endpoint(&self, request: dto::AttachRequest) -> AsyncTask<Job<dto::AttachResult>> {
        let node = Arc::clone(&self.node);
        job(move || {
            let request: slimfast_core::node::AttachRequest = request.try_into()?;
            node.attach(&request)?;
            Ok(dto::AttachResult {
                netns_path: host::netns::path_of(&request.netns_name).display().to_string(),
                listener_metadata: Node::listener_metadata(request.key),
            })
        })
    }

    #[napi]
    pub fn detach_endpoints(&self, keys: Vec<dto::Key>) -> AsyncTask<Job<()>> {
        let node = Arc::clone(&self.node);
        job(move || node.detach_all(&keys.iter().map(Into::into).collect::<Vec<_>>()))
    }

    /// Resolves with how many connections were cut.
    #[napi]
    pub fn set_network_policy(&self, policy: dto::NetworkPolicy, note: String) -> AsyncTask<Job<u32>> {
        let node = Arc::clone(&self.node);
        job(move || node.set_policy(&policy.try_into()?, &note))
    }

    #[napi]
    pub fn policy_notes(&self) -> napi::Result<Vec<dto::PolicyNote>> {
        let notes = self.node.policy_notes().map_err(|error| to_js(&error))?;
        Ok(notes.into_iter().map(|(vni, note)| dto::PolicyNote { vni, note }).collect())
    }

    #[napi]
    pub fn is_adopted(&self) -> napi::Result<bool> {
        self.node.is_adopted().map_err(|error| to_js(&error))
    }

    /// Resolves with how many connections were cut.
    #[napi]
    pub fn settle(&self) -> AsyncTask<Job<u32>> {
        let node = Arc::clone(&self.node);
        job(move || node.settle())
    }

    #[napi]
    pub fn remove_network_policy(&self, vni: u32) -> AsyncTask<Job<()>> {
        let node = Arc::clone(&self.node);
        job(move || node.remove_policy(vni))
    }

    /// The number of endpoints whose programs can create no more sockets.
    #[napi]
    pub fn replace_keeper(&self) -> AsyncTask<Job<u32>> {
        let node = Arc::clone(&self.node);
        job(move || Ok(u32::try_from(node.replace_keeper()?).unwrap_or(u32::MAX)))
    }

    /// Whether there was one.
    #[napi]
    pub fn cut_connection(&self, cookie: BigInt) -> AsyncTask<Job<bool>> {
        let node = Arc::clone(&self.node);
        let (_, cookie, _) = cookie.get_u64();
        job(move || node.cut_connection(cookie))
    }

    #[napi]
    pub fn attached(&self) -> AsyncTask<Job<Vec<dto::AttachedState>>> {
        let node = Arc::clone(&self.node);
        job(move || Ok(node.attached()?.iter().map(dto::AttachedState::from).collect()))
    }

    #[napi]
    pub fn connections(&self, at_most: Option<u32>) -> AsyncTask<Job<Vec<dto::ConnectionState>>> {
        let node = Arc::clone(&self.node);
        let at_most = at_most.map(|most| most as usize);
        job(move || Ok(node.connections(at_most)?.iter().map(dto::ConnectionState::from).collect()))
    }

    #[napi]
    pub fn listeners(&self) -> AsyncTask<Job<Vec<dto::ListenerState>>> {
        let node = Arc::clone(&self.node);
        job(move || Ok(node.listeners()?.iter().map(dto::ListenerState::from).collect()))
    }

    #[napi]
    pub fn counters(&self) -> AsyncTask<Job<HashMap<String, BigInt>>> {
        let node = Arc::clone(&self.node);
        job(move || Ok(node.counters()?.into_iter().map(|(name, value)| (name, value.into())).collect()))
    }

    /// Of each endpoint of the node.
    #[napi]
    pub fn endpoint_limits(&self) -> napi::Result<dto::EndpointLimits> {
        Ok(self.node.endpoint_limits().map_err(|error| to_js(&error))?.into())
    }

    #[napi]
    pub fn seccomp_socket(&self) -> String {
        self.node.seccomp_socket().display().to_string()
    }

    /// The callback does not keep Node.js alive.
    #[napi]
    pub fn on_events(&self, callback: Function<'_, dto::EventBatch, ()>) -> napi::Result<()> {
        let queue = Arc::clone(self.node.events());
        // What waits is in the core's own bounded queue; here at most one call is on its way and one is running.
        let wake = callback
            .build_threadsafe_function::<()>()
            .weak::<true>()
            .max_queue_size::<2>()
            .build_callback(move |_| Ok(dto::EventBatch::from(queue.take(BATCH))))?;
        self.node.events().set_waker(Box::new(move || {
            wake.call((), ThreadsafeFunctionCallMode::NonBlocking);
        }));
        Ok(())
    }

    #[napi]
    pub fn leave(&self) -> AsyncTask<Job<()>> {
        let node = Arc::clone(&self.node);
        job(move || {
            let outcome = node.leave();
            node.events().clear_waker();
            outcome
        })
    }

    #[napi]
    pub fn close(&self) -> AsyncTask<Job<()>> {
        let node = Arc::clone(&self.node);
        job(move || {
            let outcome = node.close();
            node.events().clear_waker();
            outcome
        })
    }
}
