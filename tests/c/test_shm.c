#define _GNU_SOURCE /* memfd_create */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka.h needs the four above */
#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tycho/clock.h"
#include "tycho/metrics.h"
#include "tycho/shm.h"

static void the_master_has_a_slot_besides_the_workers(void **state)
{
    struct ty_shm *shm = ty_shm_create(3);

    (void)state;
    assert_non_null(shm);
    assert_int_equal(ty_shm_slot_count(shm), 4);
    assert_non_null(ty_shm_slot(shm, 3));
    assert_null(ty_shm_slot(shm, 4));
    assert_int_equal(ty_shm_slot(shm, 3)->state, TY_SLOT_EMPTY);
    ty_shm_detach(shm);
}

static void another_process_sees_what_is_written(void **state)
{
    static const struct ty_metric metric = {.name = "test_total", .type = TY_COUNTER};
    struct ty_shm *shm = ty_shm_create(2);
    int status;

    (void)state;
    ty_metrics_attach(ty_shm_metrics(shm), 0);
    pid_t child = fork();
    if (child == 0) {
        struct ty_shm *mine = ty_shm_attach(ty_shm_fd(shm));

        if (!mine)
            _exit(1);
        atomic_store(&ty_shm_slot(mine, 1)->pid, 4711);
        ty_metrics_attach(ty_shm_metrics(mine), 1);
        ty_counter_add(ty_metrics_series(&metric, NULL), 7);
        _exit(0);
    }
    assert_int_equal(waitpid(child, &status, 0), child);

    assert_int_equal(status, 0);
    assert_int_equal(ty_shm_slot(shm, 1)->pid, 4711);
    assert_true(ty_metrics_value("test_total", NULL) == 7);
    ty_shm_detach(shm);
}

static void a_foreign_file_is_refused(void **state)
{
    int memory = memfd_create("other", MFD_CLOEXEC), null = open("/dev/null", O_RDWR | O_CLOEXEC);

    (void)state;
    assert_int_equal(ftruncate(memory, 1 << 20), 0);
    assert_null(ty_shm_attach(memory));
    assert_int_equal(errno, EINVAL);
    assert_null(ty_shm_attach(null));
    assert_int_equal(errno, EINVAL);
    assert_null(ty_shm_attach(-1));
    close(memory);
    close(null);
}

static void nobody_can_shrink_it(void **state)
{
    struct ty_shm *shm = ty_shm_create(1);

    (void)state;
    assert_int_equal(ftruncate(ty_shm_fd(shm), 0), -1);
    ty_shm_detach(shm);
}

static void too_many_workers_are_refused(void **state)
{
    (void)state;
    assert_null(ty_shm_create(TY_SHM_SLOTS_MAX));
    assert_int_equal(errno, EINVAL);
}

static void a_slot_is_fresh_while_its_worker_beats(void **state)
{
    struct ty_shm *shm = ty_shm_create(1);
    struct ty_slot *slot = ty_shm_slot(shm, 1);
    uint64_t now = ty_now_ms();

    (void)state;
    atomic_store(&slot->heartbeat_ms, now);
    assert_false(ty_slot_is_fresh(slot, 60000)); /* nobody in it */
    atomic_store(&slot->pid, 1);
    assert_true(ty_slot_is_fresh(slot, 60000));
    atomic_store(&slot->heartbeat_ms, now + 60000);
    assert_true(ty_slot_is_fresh(slot, 1000));
    atomic_store(&slot->heartbeat_ms, now > 5000 ? now - 5000 : 0);
    assert_false(ty_slot_is_fresh(slot, 10));
    ty_shm_detach(shm);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_master_has_a_slot_besides_the_workers),
        cmocka_unit_test(another_process_sees_what_is_written),
        cmocka_unit_test(a_foreign_file_is_refused),
        cmocka_unit_test(nobody_can_shrink_it),
        cmocka_unit_test(too_many_workers_are_refused),
        cmocka_unit_test(a_slot_is_fresh_while_its_worker_beats),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
