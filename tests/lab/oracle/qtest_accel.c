/*
 * Loadable "accel-qtest-x86_64" module for Debian 12's qemu-system-x86_64.
 *
 * Debian's package leaves accel-qtest-*.so out (debian/rules), but its binary
 * still has everything that the module hooks up: qtest_allowed,
 * qtest_get_virtual_clock, dummy_start_vcpu_thread; and it still lists the
 * module in its modinfo.  This file restates, in its own declarations, the few
 * ABI facts needed (the layouts of QOM's TypeInfo, of AccelClass and of
 * AccelOpsClass in QEMU 7.2 on LP64) and registers the two types.
 *
 * build.sh builds it with gcc and binutils alone.  STAMP must be the
 * qemu_stamp_<sha1> symbol that the other modules of the same build export.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct type_info {                      /* include/qom/object.h TypeInfo */
    const char *name, *parent;
    size_t instance_size, instance_align;
    void *instance_init, *instance_post_init, *instance_finalize;
    bool abstract;
    size_t class_size;
    void (*class_init)(void *klass, void *data);
    void *class_base_init, *class_data, *interfaces;
};
struct object_class { void *w[12]; };   /* type, ifaces, 4+4 cast cache, unparent, props */
struct accel_class {
    struct object_class oc;
    const char *name;
    int (*init_machine)(void *ms);
    void *setup_post, *has_memory, *gdbstub_supported_sstep_flags;
    bool *allowed;
    void *compat_props;
};
struct accel_ops_class {
    struct object_class oc;
    void *ops_init, *cpus_are_resettable;
    void (*create_vcpu_thread)(void *cpu);
    void *kick_vcpu_thread, *cpu_thread_is_idle;
    void *synchronize_post_reset, *synchronize_post_init, *synchronize_state,
         *synchronize_pre_loadvm, *synchronize_pre_resume;
    void *handle_interrupt;
    int64_t (*get_virtual_clock)(void);
};
_Static_assert(offsetof(struct accel_class, allowed) == 136, "AccelClass");
_Static_assert(offsetof(struct accel_ops_class, create_vcpu_thread) == 112, "ops");
_Static_assert(offsetof(struct accel_ops_class, get_virtual_clock) == 184, "ops");

extern bool qtest_allowed;
extern int64_t qtest_get_virtual_clock(void);
extern void dummy_start_vcpu_thread(void *cpu);
extern void register_dso_module_init(void (*fn)(void), int type);
extern void *type_register_static(const struct type_info *info);

static int init_machine(void *ms) { return 0; }

static void accel_init(void *klass, void *data)
{
    struct accel_class *ac = klass;
    ac->name = "QTest";
    ac->init_machine = init_machine;
    ac->allowed = &qtest_allowed;
}

static void ops_init(void *klass, void *data)
{
    struct accel_ops_class *ops = klass;
    ops->create_vcpu_thread = dummy_start_vcpu_thread;
    ops->get_virtual_clock = qtest_get_virtual_clock;
}

static const struct type_info accel_type = {
    .name = "qtest-accel", .parent = "accel", .class_init = accel_init,
};
static const struct type_info ops_type = {
    .name = "qtest-accel-ops", .parent = "accel-ops", .class_init = ops_init,
    .abstract = true,
};

static void register_types(void)
{
    type_register_static(&accel_type);
    type_register_static(&ops_type);
}

void STAMP(void) {}
void qemu_module_dummy(void) {}

static void __attribute__((constructor)) ctor(void)
{
    register_dso_module_init(register_types, 3 /* MODULE_INIT_QOM */);
}
