/* The parts of a cluster that stand alone: subjects, messages, and the keys that are being written.
 */
#include "cluster_support.h"

#include "cluster/own_writes.h"
#include "cluster/subjects.h"

static const struct subjects subjects = {"p", "test", 16};

static void every_key_has_one_subject(void **state) {
    (void)state;
    char key[POOL_KEY_MAX];
    for (unsigned size = 1; size <= POOL_KEY_MAX; size++) {
        char subject[ENGINE_SUBJECT_MAX];
        char read[POOL_KEY_MAX];
        size_t read_size;
        uint64_t host;
        for (unsigned i = 0; i < size; i++) {
            key[i] = (char)(i * 37 + size * 11);
        }
        struct bytes bytes = bytes_from(key, size);
        subjects_write_key(&subjects, bytes, subject);
        assert_null(strpbrk(subject + strlen("p.test."), " *>"));
        assert_int_equal(subjects_read(&subjects, subjects_get_partition(&subjects, bytes), subject,
                                       read, &read_size, &host),
                         SUBJECT_KEY);
        assert_true(bytes_equal(bytes_from(read, read_size), bytes));
    }
}

static void a_key_stays_in_its_partition(void **state) {
    (void)state;
    /* Fixed for life: in another partition it would be another item. */
    assert_int_equal(subjects_get_partition(&subjects, bytes_from_string("k")), 13);
    assert_int_equal(subjects_get_partition(&subjects, bytes_from_string("session:1")), 14);
    unsigned counts[16] = {0};
    for (unsigned i = 0; i < 16000; i++) {
        char key[POOL_KEY_MAX];
        size_t size = number_key(key, i);
        counts[subjects_get_partition(&subjects, bytes_from(key, size))]++;
    }
    for (unsigned i = 0; i < 16; i++) {
        assert_in_range(counts[i], 800, 1200);
    }
}

static void other_subjects_are_foreign(void **state) {
    (void)state;
    static const char *const texts[] = {"p.test.0.k.",    "p.test.0.k.!!",   "p.test.0.x.aw",
                                        "p.other.0.k.aw", "p.test.0",        "p.test.00.k.aw",
                                        "p.test.0.h.",    "p.test.0.h.g",    "",
                                        "p.test.0.k.a",   "p.test.0.k.awww", "p.test.0.k.aw.aw",
                                        "q.test.0.k.aw"};
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        char key[POOL_KEY_MAX];
        size_t size;
        uint64_t host;
        assert_int_equal(subjects_read(&subjects, 0, texts[i], key, &size, &host), SUBJECT_FOREIGN);
    }
}

static void a_message_says_everything(void **state) {
    (void)state;
    struct buffer buffer = {0};
    const struct replica written = {
        .key = bytes_from_string("k"),
        .value = bytes_from_string("value"),
        .stale = true,
        .keeps_reads = true,
        .client_flags = 7,
        .expiry_s = 8,
        .created_s = 9,
        .accessed_s = 10,
    };
    assert_true(message_write(&buffer, &written, (struct message_id){1, 2}));
    struct replica read = {.key = written.key};
    struct message_id id;
    assert_int_equal(message_read(bytes_from(buffer.data, buffer.size), &read, &id), MESSAGE_GOOD);
    assert_true(bytes_equal(read.value, written.value));
    assert_true(read.stale && read.keeps_reads && !read.token_sent && !read.removed);
    assert_int_equal(read.client_flags, 7);
    assert_int_equal(read.expiry_s, 8);
    assert_int_equal(read.created_s, 9);
    assert_int_equal(read.accessed_s, 10);
    assert_int_equal(id.host, 1);
    assert_int_equal(id.number, 2);
    buffer_finish(&buffer);
}

static void a_damaged_message_is_not_believed(void **state) {
    (void)state;
    struct buffer buffer = {0};
    const struct replica written = {.key = bytes_from_string("k"),
                                    .value = bytes_from_string("value")};
    assert_true(message_write(&buffer, &written, (struct message_id){1, 2}));
    for (size_t i = 0; i < buffer.size; i++) {
        struct replica read = {.key = written.key};
        struct message_id id;
        buffer.data[i] ^= 4;
        assert_int_not_equal(message_read(bytes_from(buffer.data, buffer.size), &read, &id),
                             MESSAGE_GOOD);
        buffer.data[i] ^= 4;
        assert_int_not_equal(message_read(bytes_from(buffer.data, i), &read, &id), MESSAGE_GOOD);
    }
    struct replica other = {.key = bytes_from_string("j")}; /* of another key */
    struct message_id id;
    assert_int_equal(message_read(bytes_from(buffer.data, buffer.size), &other, &id),
                     MESSAGE_DAMAGED);
    buffer_finish(&buffer);
}

static void the_later_record_of_a_key_stays(void **state) {
    (void)state;
    struct own_writes own;
    struct bytes key = bytes_from_string("k");
    own_writes_init(&own);
    assert_true(own_writes_admit_reader(&own, key, 3)); /* nobody writes it */
    assert_true(own_writes_begin(&own, key, 0));
    assert_true(own_writes_admit_reader(&own, key, 4));
    assert_true(own_writes_admit_writer(&own, key, 6));
    assert_false(own_writes_admit_reader(&own, key, 5));
    own_writes_end(&own, key);
    assert_false(own_writes_admit_reader(&own, key, 5)); /* the reader has not come to 6 yet */
    assert_true(own_writes_admit_reader(&own, key, 6));
    assert_int_equal(atomic_load(&own.count), 0);

    assert_true(own_writes_begin(&own, key, 0));
    assert_true(own_writes_admit_reader(&own, key, 9));
    assert_false(own_writes_admit_writer(&own, key, 8)); /* another host has written 9 */
    own_writes_end(&own, key);
    assert_int_equal(atomic_load(&own.count), 0);
    own_writes_finish(&own);
}

static void what_the_log_does_not_show_any_more_is_swept(void **state) {
    (void)state;
    struct own_writes own;
    struct bytes key = bytes_from_string("k");
    own_writes_init(&own);
    assert_true(own_writes_begin(&own, key, 1));
    assert_true(own_writes_admit_writer(&own, key, 6));
    own_writes_end(&own, key);
    own_writes_sweep(&own, 0, 7);
    own_writes_sweep(&own, 1, 5);
    assert_int_equal(atomic_load(&own.count), 1);
    own_writes_sweep(&own, 1, 6);
    assert_int_equal(atomic_load(&own.count), 0);
    own_writes_finish(&own);
}

static void the_log_keeps_a_record_longer_than_it_counts(void **state) {
    (void)state;
    const struct message_life life = {.keep_s = 604800};
    const struct message_life idle = {.keep_s = 604800, .idle_timeout_s = 1000};
    const struct replica gone = {.removed = true};
    const struct replica always = {.accessed_s = 5000};
    const struct replica mortal = {.accessed_s = 5000, .expiry_s = 5600};
    assert_int_equal(message_life_s(&gone, 7, &life, 5000), 604800);
    /* A key that the log does not know: only writes on their way are to be refused. */
    assert_int_equal(message_life_s(&gone, 0, &life, 5000), MESSAGE_LATE_S);
    assert_int_equal(message_life_s(&always, 7, &life, 5000), 0);
    assert_int_equal(message_life_s(&mortal, 7, &life, 5000), 600 + 604800);
    assert_int_equal(message_life_s(&always, 7, &idle, 5000), 1000 + 604800);
    assert_int_equal(message_life_s(&mortal, 7, &idle, 5000), 600 + 604800);
    assert_int_equal(message_life_s(&mortal, 7, &idle, 9000), 604800);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_key_has_one_subject),
        cmocka_unit_test(a_key_stays_in_its_partition),
        cmocka_unit_test(other_subjects_are_foreign),
        cmocka_unit_test(a_message_says_everything),
        cmocka_unit_test(a_damaged_message_is_not_believed),
        cmocka_unit_test(the_later_record_of_a_key_stays),
        cmocka_unit_test(what_the_log_does_not_show_any_more_is_swept),
        cmocka_unit_test(the_log_keeps_a_record_longer_than_it_counts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
