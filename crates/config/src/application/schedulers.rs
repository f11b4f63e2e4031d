//! The schedulers that actions are forwarded to, by instance name.

use std::fmt::{self, Display, Formatter};

use blobaccess::{InstanceName, Result};
use blobaccess_grpc::Services;

use crate::Registry;
use crate::authorizers::AuthorizerPlan;
use crate::background::Background;
use crate::clients::GrpcClientPlan;
use crate::section::Section;

/// The plan of all schedulers, and who may have actions executed.
#[derive(Debug, Default)]
pub(super) struct SchedulersPlan {
    pub(super) schedulers: Vec<SchedulerPlan>,
    /// The authorizer of execution, if there are schedulers.
    pub(super) authorizer: Option<AuthorizerPlan>,
}

/// The plan of the scheduler for one prefix of instance names.
#[derive(Debug)]
pub(super) struct SchedulerPlan {
    /// The prefix of the instance names that the scheduler is for.
    pub(super) prefix: InstanceName,
    /// The prefix that takes its place in calls to the scheduler.
    pub(super) added_prefix: InstanceName,
    pub(super) endpoint: GrpcClientPlan,
}

impl SchedulersPlan {
    /// Reads the schedulers and the authorizer of execution from an `ApplicationConfiguration`. `None` says that faults
    /// were noted.
    pub(super) fn read(root: &Section<'_>) -> Option<Self> {
        let entries = root.message_map("schedulers");
        if entries.is_empty() {
            root.disregard("execute_authorizer", "there are no schedulers");
            return Some(Self::default());
        }
        let schedulers: Vec<_> = entries.iter().map(|(prefix, section)| SchedulerPlan::read(prefix, section)).collect();
        let authorizer = root.required("execute_authorizer").and_then(|section| AuthorizerPlan::read(&section))?;
        Some(Self { schedulers: schedulers.into_iter().collect::<Option<_>>()?, authorizer: Some(authorizer) })
    }
}

impl SchedulersPlan {
    /// Adds the service that forwards actions, if there are schedulers. Of the metadata of calls, they get what `forwarded`
    /// names. It must be called within a tokio runtime.
    ///
    /// # Errors
    ///
    /// `FailedPrecondition` or `InvalidArgument` if a certificate of a client cannot be read or used.
    pub(super) fn add_to(
        &self,
        services: Services,
        forwarded: &[String],
        registry: &Registry,
        background: &mut Background,
    ) -> Result<Services> {
        let Some(authorizer) = &self.authorizer else { return Ok(services) };
        let mut schedulers = Vec::with_capacity(self.schedulers.len());
        for SchedulerPlan { prefix, added_prefix, endpoint } in &self.schedulers {
            let remote = endpoint.connect(false, Some(forwarded.to_vec()), background.clock())?;
            let scheduler = registry.observe(remote)?.scheduler();
            schedulers.push((prefix.clone(), scheduler.with_added_instance_name_prefix(added_prefix.clone())));
        }
        Ok(services.with_schedulers(schedulers, authorizer.build(background)))
    }
}

impl SchedulerPlan {
    fn read(prefix: &str, section: &Section<'_>) -> Option<Self> {
        let invalid = |error: &blobaccess::Error| format!("is no instance name: {}", error.message());
        let prefix = InstanceName::new(prefix);
        if let Err(error) = &prefix {
            section.fault(format!("the key {}", invalid(error)));
        }
        let added_prefix = InstanceName::new(section.text("add_instance_name_prefix"));
        if let Err(error) = &added_prefix {
            section.fault_at("add_instance_name_prefix", invalid(error));
        }
        let endpoint = section.required("endpoint").and_then(|section| GrpcClientPlan::read(&section));
        Some(Self { prefix: prefix.ok()?, added_prefix: added_prefix.ok()?, endpoint: endpoint? })
    }
}

impl Display for SchedulersPlan {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        for SchedulerPlan { prefix, added_prefix, endpoint } in &self.schedulers {
            write!(f, "execution of {:?} at {}", prefix.as_str(), endpoint.address())?;
            let added = added_prefix.as_str();
            if added.is_empty() { writeln!(f)? } else { writeln!(f, ", there {added:?}")? }
        }
        Ok(())
    }
}
