//! Runs a blocking call of the core on one of libuv's threads and settles a promise with its outcome.

use napi::bindgen_prelude::{AsyncTask, ToNapiValue, TypeName};
use napi::{Env, Task};
use slimfast_core::error::Result;

use crate::errors::to_js;

type Call<T> = Box<dyn FnOnce() -> Result<T> + Send>;

pub struct Job<T>(Option<Call<T>>);

pub fn job<T: Send>(call: impl FnOnce() -> Result<T> + Send + 'static) -> AsyncTask<Job<T>>
where
    Job<T>: Task,
{
    AsyncTask::new(Job(Some(Box::new(call))))
}

impl<T: ToNapiValue + TypeName + Send + 'static> Task for Job<T> {
    type Output = T;
    type JsValue = T;

    fn compute(&mut self) -> napi::Result<T> {
        let call = self.0.take().ok_or_else(|| napi::Error::from_reason("a job ran twice"))?;
        call().map_err(|error| to_js(&error))
    }

    fn resolve(&mut self, _env: Env, output: T) -> napi::Result<T> {
        Ok(output)
    }
}
