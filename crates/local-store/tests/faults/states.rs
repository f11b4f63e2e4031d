//! A state that is not what the options make.

use blobaccess::{Ac, Cas, ErrorKind};
use blobaccess_local_store::{Environment, LocalStore, Options};
use futures::executor::block_on;

use crate::faulty::Faulty;
use crate::{CAPACITY, get, open, options, put, stored};

#[test]
fn a_state_that_does_not_fit_is_refused_with_what_differs() {
    let (device, blobs) = stored::<Cas>(&[100]);
    let image = device.inner.image();
    let open_with = |options: Options, image: Vec<u8>| {
        block_on(LocalStore::<Cas>::open_on(options, Faulty::new(image), Environment::default()))
    };
    let refused = |options: Options, image: Vec<u8>| {
        let error = open_with(options, image).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::FailedPrecondition);
        error.to_string()
    };
    assert!(refused(options().with_blocks(1, 5, 1), image.clone()).contains("8 blocks, while the options make it 9"));
    assert!(refused(options().with_entries(5_000), image.clone()).contains("data bytes a block"));
    let volatile = Options::on_device(CAPACITY)
        .with_blocks(1, 4, 1)
        .with_spare_blocks(2)
        .with_entries(2_000)
        .with_account_names(8);
    assert!(refused(volatile.clone(), image.clone()).contains("persistent"));
    let error = open::<Ac>(Faulty::new(image.clone())).unwrap_err();
    assert!(error.to_string().contains("a store of cas, while one of ac"));
    let mut garbage = image.clone();
    garbage[..200_000].fill(0x55);
    assert!(refused(options(), garbage.clone()).contains("discard"));
    for (options, image) in [(options().with_blocks(1, 5, 1), image.clone()), (volatile, image), (options(), garbage)] {
        let store = open_with(options.discarding(true), image).unwrap();
        assert_eq!(get(&store, &blobs[0].0).unwrap_err().kind(), ErrorKind::NotFound);
        put(&store, &blobs[0].0, &blobs[0].1).unwrap();
    }
}

#[test]
fn discarding_keeps_what_can_be_gone_on_with() {
    let (device, blobs) = stored::<Cas>(&[100]);
    let opened = LocalStore::<Cas>::open_on(options().discarding(true), device, Environment::default());
    assert_eq!(get(&block_on(opened).unwrap(), &blobs[0].0).unwrap(), blobs[0].1);
}
