#include "tests/support/vfs_faults.h"

#include <errno.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdatomic.h>
#include <stddef.h>
#include <time.h>

struct faulty_file {
    sqlite3_file base;
    sqlite3_file *real; /* directly behind this struct */
};

static int (*real_open)(sqlite3_vfs *, const char *, sqlite3_file *, int, int *);

static unsigned long fault_at;
static enum vfs_fault fault_kind;
static bool fault_stays;
static bool fault_struck;
static atomic_ulong step_count;
static atomic_ulong sync_count;
static atomic_ullong sync_ns;
static atomic_long sync_delay_ms;

void vfs_faults_at(unsigned long nth, enum vfs_fault fault, bool forever)
{
    fault_at = nth;
    fault_kind = fault;
    fault_stays = forever;
    fault_struck = false;
    step_count = 0;
    sync_count = 0;
    sync_ns = 0;
}

bool vfs_faults_struck(void)
{
    return fault_struck;
}

unsigned long vfs_faults_sync_count(void)
{
    return sync_count;
}

void vfs_faults_delay_syncs(long ms)
{
    sync_delay_ms = ms;
}

double vfs_faults_sync_seconds(void)
{
    return (double) sync_ns / 1e9;
}

static unsigned long long now_ns(void)
{
    struct timespec now;
    (void) clock_gettime(CLOCK_MONOTONIC, &now);
    return (unsigned long long) now.tv_sec * 1000000000U + (unsigned long long) now.tv_nsec;
}

static bool step_fails(void)
{
    unsigned long step = ++step_count;
    bool fails = fault_at != 0 && (step == fault_at || (step > fault_at && fault_stays));
    if (fails) {
        fault_struck = true;
        errno = fault_kind == VFS_FAULT_FULL ? ENOSPC : EIO;
    }
    return fails;
}

static void die_if_told(void)
{
    if (fault_kind == VFS_FAULT_KILL)
        (void) raise(SIGKILL);
}

static sqlite3_file *real_of(sqlite3_file *file)
{
    return ((struct faulty_file *) file)->real;
}

static int faulty_close(sqlite3_file *file)
{
    return real_of(file)->pMethods->xClose(real_of(file));
}

static int faulty_read(sqlite3_file *file, void *bytes, int len, sqlite3_int64 offset)
{
    return real_of(file)->pMethods->xRead(real_of(file), bytes, len, offset);
}

static int faulty_write(sqlite3_file *file, const void *bytes, int len, sqlite3_int64 offset)
{
    if (step_fails()) {
        int error = errno;
        (void) real_of(file)->pMethods->xWrite(real_of(file), bytes, len / 2, offset);
        die_if_told();
        errno = error;
        return fault_kind == VFS_FAULT_FULL ? SQLITE_FULL : SQLITE_IOERR_WRITE;
    }
    return real_of(file)->pMethods->xWrite(real_of(file), bytes, len, offset);
}

static int faulty_truncate(sqlite3_file *file, sqlite3_int64 size)
{
    if (step_fails()) {
        die_if_told();
        return SQLITE_IOERR_TRUNCATE;
    }
    return real_of(file)->pMethods->xTruncate(real_of(file), size);
}

static int faulty_sync(sqlite3_file *file, int flags)
{
    if (step_fails()) {
        die_if_told();
        return SQLITE_IOERR_FSYNC;
    }
    unsigned long long begin = now_ns();
    struct timespec delay = {.tv_nsec = sync_delay_ms * 1000000L};
    if (delay.tv_nsec > 0)
        (void) nanosleep(&delay, NULL);
    int code = real_of(file)->pMethods->xSync(real_of(file), flags);
    sync_count++;
    sync_ns += now_ns() - begin;
    return code;
}

static int faulty_size(sqlite3_file *file, sqlite3_int64 *ret_size)
{
    return real_of(file)->pMethods->xFileSize(real_of(file), ret_size);
}

static int faulty_lock(sqlite3_file *file, int level)
{
    return real_of(file)->pMethods->xLock(real_of(file), level);
}

static int faulty_unlock(sqlite3_file *file, int level)
{
    return real_of(file)->pMethods->xUnlock(real_of(file), level);
}

static int faulty_check_reserved(sqlite3_file *file, int *ret_reserved)
{
    return real_of(file)->pMethods->xCheckReservedLock(real_of(file), ret_reserved);
}

static int faulty_control(sqlite3_file *file, int op, void *argument)
{
    return real_of(file)->pMethods->xFileControl(real_of(file), op, argument);
}

static int faulty_sector_size(sqlite3_file *file)
{
    return real_of(file)->pMethods->xSectorSize(real_of(file));
}

static int faulty_characteristics(sqlite3_file *file)
{
    return real_of(file)->pMethods->xDeviceCharacteristics(real_of(file));
}

static int faulty_shm_map(sqlite3_file *file, int page, int size, int extend,
                          void volatile **ret_page)
{
    if (extend && step_fails()) {
        die_if_told();
        return SQLITE_IOERR_SHMSIZE;
    }
    return real_of(file)->pMethods->xShmMap(real_of(file), page, size, extend, ret_page);
}

static int faulty_shm_lock(sqlite3_file *file, int offset, int count, int flags)
{
    return real_of(file)->pMethods->xShmLock(real_of(file), offset, count, flags);
}

static void faulty_shm_barrier(sqlite3_file *file)
{
    real_of(file)->pMethods->xShmBarrier(real_of(file));
}

static int faulty_shm_unmap(sqlite3_file *file, int remove)
{
    return real_of(file)->pMethods->xShmUnmap(real_of(file), remove);
}

static const sqlite3_io_methods faulty_methods = {
    .iVersion = 2,
    .xClose = faulty_close,
    .xRead = faulty_read,
    .xWrite = faulty_write,
    .xTruncate = faulty_truncate,
    .xSync = faulty_sync,
    .xFileSize = faulty_size,
    .xLock = faulty_lock,
    .xUnlock = faulty_unlock,
    .xCheckReservedLock = faulty_check_reserved,
    .xFileControl = faulty_control,
    .xSectorSize = faulty_sector_size,
    .xDeviceCharacteristics = faulty_characteristics,
    .xShmMap = faulty_shm_map,
    .xShmLock = faulty_shm_lock,
    .xShmBarrier = faulty_shm_barrier,
    .xShmUnmap = faulty_shm_unmap,
};

static int faulty_open(sqlite3_vfs *vfs, const char *name, sqlite3_file *file, int flags,
                       int *ret_flags)
{
    struct faulty_file *faulty = (struct faulty_file *) file;
    faulty->base.pMethods = NULL;
    faulty->real = (sqlite3_file *) (faulty + 1);
    int code = real_open(vfs, name, faulty->real, flags, ret_flags);
    if (code == SQLITE_OK)
        faulty->base.pMethods = &faulty_methods;
    return code;
}

void vfs_faults_install(void)
{
    (void) sqlite3_initialize();
    sqlite3_vfs *vfs = sqlite3_vfs_find("unix");
    if (vfs->xOpen == faulty_open)
        return;
    real_open = vfs->xOpen;
    vfs->xOpen = faulty_open;
    vfs->szOsFile += (int) sizeof(struct faulty_file);
}
