//! Messages in another form than before.

use super::*;

/// The form of messages changes, as with a new release. Guarantees that messages are embedded again in the new form, in a
/// table of its own, and what is embedded as it is is not; that the table of the form before says by which model and form
/// it was made, and that this model needs no second loading; and that a snapshot is asked in the form that it holds.
#[tokio::test]
async fn messages_are_embedded_again_in_another_form() {
    let mut fixture = Fixture::new().await;
    let text = "Error: ECONNREFUSED at connect";
    fixture.counts(&[("a", "f1", text)]).await;
    let plain = hashed();
    assert_eq!(Indexer::new(fixture.lake.clone(), Arc::new(plain.clone())).catch_up().await.unwrap(), 1);
    let pinned = fixture.lake.create_snapshot("before").await.unwrap();

    let glossed = plain.with_form(Form::NEWEST);
    assert_eq!(Indexer::new(fixture.lake.clone(), Arc::new(glossed.clone())).catch_up().await.unwrap(), 1);
    let dataset = vectors::open(&fixture.lake, &glossed, Kind::Masked).await.unwrap().unwrap();
    let batch = dataset.scan().try_into_batch().await.unwrap();
    let stored = |name: &str| batch.column_by_name(name).unwrap().as_string::<i32>().value(0).to_owned();
    let model = glossed.model().await.unwrap();
    assert_eq!((stored("text"), stored("model")), (text.to_owned(), model.stored_name(Kind::Masked)));
    assert_eq!(stored("model"), format!("hashed-ngrams{}", Form::NEWEST));
    let lists = batch.column_by_name("vector").unwrap().as_fixed_size_list();
    let vector = lists.value(0).as_primitive::<Float32Type>().values().to_vec();
    assert_eq!(vector, HashedNgrams::vector(&Form::NEWEST.of(text)));
    assert_eq!(glossed.embed(Kind::Context, vec![text.to_owned()]).await.unwrap(), [HashedNgrams::vector(text)]);
    assert_eq!(
        vectors::dataset_name(&model, Kind::Context),
        vectors::dataset_name(&plain.model().await.unwrap(), Kind::Context)
    );

    let others = vectors::of_others(&fixture.lake, &model).await.unwrap();
    assert_eq!(others.iter().map(|other| other.model.as_str()).collect::<Vec<_>>(), ["hashed-ngrams"]);
    let before = glossed.other(&others[0].model);
    assert_eq!(before.model().await.unwrap(), plain.model().await.unwrap());
    let held = vectors::as_pinned(&glossed, &pinned).await.unwrap();
    assert_eq!(held.model().await.unwrap().form, Form::Plain);
    assert!(vectors::open_pinned(&fixture.lake, &glossed, &pinned, Kind::Masked).await.unwrap().is_some());
}
