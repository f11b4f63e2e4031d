//! Describes the services to clients that ask for their methods and messages.

use blobaccess::{Error, Result};
use tonic::service::Routes;
use tonic_reflection::server::Builder;

use super::health::Needs;
use super::received_messages::CODINGS;

/// The names of the services that describe the others.
const HEALTH: &str = "grpc.health.v1.Health";
const REFLECTION: &str = "grpc.reflection.v1.ServerReflection";
const REFLECTION_BEFORE: &str = "grpc.reflection.v1alpha.ServerReflection";

/// Adds both versions of reflection to `routes`, which describe the services of these `names`.
pub(crate) fn add_to(routes: Routes, names: &[(&'static str, Needs)]) -> Result<Routes> {
    let builder = |own_name: &str| {
        let builder = Builder::configure()
            .register_encoded_file_descriptor_set(blobaccess_proto::FILE_DESCRIPTOR_SET)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
            .with_service_name(HEALTH)
            .with_service_name(own_name);
        names.iter().fold(builder, |builder, (name, _)| builder.with_service_name(*name))
    };
    let unfit = |error| Error::internal("services cannot be described").with_source(error);
    let v1 = builder(REFLECTION).build_v1().map_err(unfit)?;
    let v1alpha = builder(REFLECTION_BEFORE).build_v1alpha().map_err(unfit)?;
    let v1 = CODINGS.into_iter().fold(v1, |server, coding| server.accept_compressed(coding));
    let v1alpha = CODINGS.into_iter().fold(v1alpha, |server, coding| server.accept_compressed(coding));
    Ok(routes.add_service(v1).add_service(v1alpha))
}
