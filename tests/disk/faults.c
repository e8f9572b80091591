/* A disk that fails or forgets, for tests: preloaded (LD_PRELOAD), it stands between a process and what it writes below
   one folder. Armed by faults_arm, it lets the n-th change fail, and writes a journal of all changes, from which
   tests/disk/replay.py rebuilds what a power cut would have left. SQLite's -shm files are memory, and left alone. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#define MAX_FD 4096
static char folder[PATH_MAX];
static size_t folder_len;
static long fail_at, fail_until, count;
static int fail_with, journal = -1, armed;
static char tracked[MAX_FD]; /* 1: a file, 2: a folder */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

/* fail: number of the change that fails, from 1 on; 0: none. last: the last one that fails. */
void faults_arm(const char *where, long fail, long last, int with, const char *journal_path) {
    snprintf(folder, sizeof folder, "%s/", where);
    folder_len = strlen(folder);
    fail_at = fail, fail_until = last, fail_with = with, count = 0;
    memset(tracked, 0, sizeof tracked);
    journal = journal_path[0] ? syscall(SYS_openat, AT_FDCWD, journal_path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644) : -1;
    armed = 1;
}
long faults_count(void) { return count; }

static void put(const void *data, size_t size) {
    const char *at = data;
    while (size) {
        ssize_t done = syscall(SYS_write, journal, at, size);
        if (done <= 0) return;
        at += done, size -= done;
    }
}
/* op, inode, offset or size or flag, then two texts and bytes, each with its length before it */
static void note(char op, uint64_t inode, uint64_t number, const char *one, const char *two, const void *data, uint32_t size) {
    if (journal < 0) return;
    uint32_t a = one ? strlen(one) : 0, b = two ? strlen(two) : 0;
    put(&op, 1), put(&inode, 8), put(&number, 8), put(&a, 4), put(&b, 4), put(&size, 4);
    put(one, a), put(two, b), put(data, size);
}
void faults_mark(const char *text) {
    pthread_mutex_lock(&lock);
    note('K', 0, 0, text, 0, 0, 0);
    pthread_mutex_unlock(&lock);
}

/* The path as seen from the root, 0 where it is not below the folder. */
static const char *below(int at, const char *path, char *whole) {
    if (!armed || !path) return 0;
    if (path[0] == '/') snprintf(whole, PATH_MAX, "%s", path);
    else {
        char link[64], base[PATH_MAX];
        if (at == AT_FDCWD) {
            if (!getcwd(base, sizeof base)) return 0;
        } else {
            snprintf(link, sizeof link, "/proc/self/fd/%d", at);
            ssize_t n = readlink(link, base, sizeof base - 1);
            if (n < 0) return 0;
            base[n] = 0;
        }
        if (snprintf(whole, PATH_MAX, "%s/%s", base, path) >= PATH_MAX) return 0;
    }
    size_t n = strlen(whole);
    if (n + 1 == folder_len && !strncmp(whole, folder, n)) return whole; /* the folder itself */
    if (strncmp(whole, folder, folder_len)) return 0;
    if (n > 4 && !strcmp(whole + n - 4, "-shm")) return 0;
    return whole;
}
static int fails(void) {
    count++;
    return fail_at && count >= fail_at && count <= fail_until;
}
static int is_tracked(int fd) { return armed && fd >= 0 && fd < MAX_FD ? tracked[fd] : 0; }
static uint64_t inode_of(int fd) {
    struct stat st;
    return fstat(fd, &st) ? 0 : st.st_ino;
}

static int open_any(int at, const char *path, int flags, mode_t mode) {
    char whole[PATH_MAX];
    const char *ours = below(at, path, whole);
    if (!ours) {
        int fd = syscall(SYS_openat, at, path, flags, mode);
        if (armed && fd >= 0 && fd < MAX_FD) tracked[fd] = 0;
        return fd;
    }
    int writes = (flags & O_ACCMODE) != O_RDONLY;
    pthread_mutex_lock(&lock);
    if (writes && fails()) {
        pthread_mutex_unlock(&lock);
        errno = fail_with;
        return -1;
    }
    struct stat st;
    int was = fstatat(AT_FDCWD, whole, &st, 0) == 0;
    int fd = syscall(SYS_openat, at, path, flags, mode), saved = errno;
    if (fd >= 0 && fd < MAX_FD) {
        struct stat now;
        fstat(fd, &now);
        tracked[fd] = S_ISDIR(now.st_mode) ? 2 : 1;
        if (writes && !was) note('O', now.st_ino, 0, whole, 0, 0, 0);
        else if (writes && (flags & O_TRUNC)) note('T', now.st_ino, 0, 0, 0, 0, 0);
    }
    pthread_mutex_unlock(&lock);
    errno = saved;
    return fd;
}
#define OPEN(name)                                                                                                     \
    int name(const char *path, int flags, ...) {                                                                       \
        va_list more;                                                                                                  \
        va_start(more, flags);                                                                                         \
        mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(more, mode_t) : 0;                                        \
        va_end(more);                                                                                                  \
        return open_any(AT_FDCWD, path, flags, mode);                                                                  \
    }
#define OPENAT(name)                                                                                                   \
    int name(int at, const char *path, int flags, ...) {                                                               \
        va_list more;                                                                                                  \
        va_start(more, flags);                                                                                         \
        mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(more, mode_t) : 0;                                        \
        va_end(more);                                                                                                  \
        return open_any(at, path, flags, mode);                                                                        \
    }
OPEN(open)
OPEN(open64)
OPENAT(openat)
OPENAT(openat64)

int close(int fd) {
    if (armed && fd >= 0 && fd < MAX_FD) tracked[fd] = 0;
    return syscall(SYS_close, fd);
}

/* offset < 0: where the file stands. A write that fails has written its first half. */
static ssize_t write_any(int fd, const void *data, size_t size, off_t offset) {
    if (is_tracked(fd) != 1)
        return offset < 0 ? syscall(SYS_write, fd, data, size) : syscall(SYS_pwrite64, fd, data, size, offset);
    pthread_mutex_lock(&lock);
    int bad = fails();
    if (bad) size /= 2;
    off_t at = offset;
    if (offset < 0) {
        struct stat st;
        at = fcntl(fd, F_GETFL) & O_APPEND ? (fstat(fd, &st), st.st_size) : lseek(fd, 0, SEEK_CUR);
    }
    ssize_t done = offset < 0 ? syscall(SYS_write, fd, data, size) : syscall(SYS_pwrite64, fd, data, size, offset);
    int saved = errno;
    if (done > 0) note('W', inode_of(fd), at, 0, 0, data, done);
    pthread_mutex_unlock(&lock);
    errno = bad ? fail_with : saved;
    return bad ? -1 : done;
}
ssize_t write(int fd, const void *data, size_t size) { return write_any(fd, data, size, -1); }
ssize_t pwrite(int fd, const void *data, size_t size, off_t offset) { return write_any(fd, data, size, offset); }
ssize_t pwrite64(int fd, const void *data, size_t size, off64_t offset) { return write_any(fd, data, size, offset); }
ssize_t writev(int fd, const struct iovec *some, int n) {
    if (is_tracked(fd) != 1) return syscall(SYS_writev, fd, some, n);
    ssize_t all = 0;
    for (int i = 0; i < n; i++) {
        ssize_t done = write_any(fd, some[i].iov_base, some[i].iov_len, -1);
        if (done < 0) return all ? all : -1;
        all += done;
        if ((size_t)done < some[i].iov_len) break;
    }
    return all;
}

/* In place of the real one: nothing in these tests waits for a disk. */
static int sync_any(int fd) {
    if (!is_tracked(fd)) return 0;
    pthread_mutex_lock(&lock);
    if (fails()) {
        pthread_mutex_unlock(&lock);
        errno = fail_with;
        return -1;
    }
    if (is_tracked(fd) == 2) {
        char link[64], path[PATH_MAX];
        snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
        ssize_t n = readlink(link, path, sizeof path - 1);
        path[n < 0 ? 0 : n] = 0;
        note('F', 0, 0, path, 0, 0, 0);
    } else
        note('S', inode_of(fd), 0, 0, 0, 0, 0);
    pthread_mutex_unlock(&lock);
    return 0;
}
int fsync(int fd) { return sync_any(fd); }
int fdatasync(int fd) { return sync_any(fd); }

static int truncate_any(int fd, off_t size) {
    if (is_tracked(fd) != 1) return syscall(SYS_ftruncate, fd, size);
    pthread_mutex_lock(&lock);
    if (fails()) {
        pthread_mutex_unlock(&lock);
        errno = fail_with;
        return -1;
    }
    int done = syscall(SYS_ftruncate, fd, size), saved = errno;
    if (!done) note('T', inode_of(fd), size, 0, 0, 0, 0);
    pthread_mutex_unlock(&lock);
    errno = saved;
    return done;
}
int ftruncate(int fd, off_t size) { return truncate_any(fd, size); }
int ftruncate64(int fd, off64_t size) { return truncate_any(fd, size); }

/* What changes names: R rename, U unlink, M mkdir, D rmdir. */
static int name_any(char op, int at, const char *path, int at2, const char *path2, int mode) {
    char whole[PATH_MAX], whole2[PATH_MAX];
    const char *ours = below(at, path, whole), *ours2 = path2 ? below(at2, path2, whole2) : 0;
    if (ours) {
        pthread_mutex_lock(&lock);
        if (fails()) {
            pthread_mutex_unlock(&lock);
            errno = fail_with;
            return -1;
        }
    }
    int done = op == 'R'   ? syscall(SYS_renameat2, at, path, at2, path2, 0)
               : op == 'M' ? syscall(SYS_mkdirat, at, path, mode)
                           : syscall(SYS_unlinkat, at, path, op == 'D' ? AT_REMOVEDIR : 0);
    int saved = errno;
    if (ours) {
        if (!done) note(op, 0, 0, whole, ours2, 0, 0);
        pthread_mutex_unlock(&lock);
    }
    errno = saved;
    return done;
}
int rename(const char *a, const char *b) { return name_any('R', AT_FDCWD, a, AT_FDCWD, b, 0); }
int renameat(int at, const char *a, int at2, const char *b) { return name_any('R', at, a, at2, b, 0); }
int unlink(const char *path) { return name_any('U', AT_FDCWD, path, 0, 0, 0); }
int unlinkat(int at, const char *path, int flags) { return name_any(flags & AT_REMOVEDIR ? 'D' : 'U', at, path, 0, 0, 0); }
int remove(const char *path) { return unlink(path); }
int rmdir(const char *path) { return name_any('D', AT_FDCWD, path, 0, 0, 0); }
int mkdir(const char *path, mode_t mode) { return name_any('M', AT_FDCWD, path, 0, 0, mode); }
int mkdirat(int at, const char *path, mode_t mode) { return name_any('M', at, path, 0, 0, mode); }
