/*
 * Records what a program does to the files of one folder: preloaded (LD_PRELOAD) by powercut.py beside it, which
 * makes of the record what a power cut would have left.
 *
 * TENUTO_TEST_FOLDER is the folder, without symbolic links; TENUTO_TEST_RECORD the file of the record, elsewhere.
 * An entry is a `struct entry`, its data and its names, in the order in which the threads of a process did
 * things. A sync has two entries: what was written before the first is on the disk after the second.
 */
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

_Static_assert(sizeof(long) == 8, "offsets are handed to system calls as they are");

struct entry {
  char op;           /* Write, Truncate, Create, Make folder, Unlink, Rename, Begin of a sync, End of a sync */
  uint64_t inode;    /* of the file; of a folder for its own sync */
  uint64_t offset;   /* of a write; new length of a truncate; number of a sync */
  uint32_t data;     /* bytes that follow */
  uint16_t name;     /* bytes of the path that follow then, relative to the folder */
  uint16_t new_name; /* bytes of the new path of a rename */
} __attribute__((packed));

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static int record_fd = -1;
static char folder[PATH_MAX];
static size_t folder_length;
static uint64_t syncs;

static void fail(const char *what) {
  dprintf(2, "powercut: %s: %s\n", what, strerror(errno));
  _exit(99);
}

__attribute__((constructor)) static void start(void) {
  const char *path = getenv("TENUTO_TEST_RECORD"), *of = getenv("TENUTO_TEST_FOLDER");
  if (path == NULL || of == NULL) return;
  record_fd = syscall(SYS_openat, AT_FDCWD, path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
  if (record_fd < 0) fail("the record cannot be opened");
  /* Far from the numbers that a program expects for its own files. */
  int high = fcntl(record_fd, F_DUPFD_CLOEXEC, 900);
  if (high < 0) fail("the record cannot be moved");
  syscall(SYS_close, record_fd);
  record_fd = high;
  folder_length = strlen(of);
  memcpy(folder, of, folder_length);
}

/* The path below the folder: NULL when it is elsewhere; "" for the folder itself. */
static const char *below(const char *path) {
  if (record_fd < 0 || strncmp(path, folder, folder_length) != 0) return NULL;
  if (path[folder_length] == '\0') return path + folder_length;
  return path[folder_length] == '/' ? path + folder_length + 1 : NULL;
}

static const char *path_of(int fd, char *buffer) {
  char link[40];
  if (record_fd < 0) return NULL;
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  ssize_t length = readlink(link, buffer, PATH_MAX - 1);
  if (length < 0) return NULL;
  buffer[length] = '\0';
  return below(buffer);
}

/* The path of a name given to a system call: its folder is resolved, the name itself is not. */
static const char *path_at(int dirfd, const char *name, char *buffer) {
  char joined[2 * PATH_MAX], base[PATH_MAX];
  if (record_fd < 0 || name == NULL) return NULL;
  if (name[0] == '/') {
    snprintf(joined, sizeof joined, "%s", name);
  } else if (dirfd == AT_FDCWD) {
    if (getcwd(base, sizeof base) == NULL) return NULL;
    snprintf(joined, sizeof joined, "%s/%s", base, name);
  } else {
    char link[40];
    snprintf(link, sizeof link, "/proc/self/fd/%d", dirfd);
    ssize_t length = readlink(link, base, sizeof base - 1);
    if (length < 0) return NULL;
    base[length] = '\0';
    snprintf(joined, sizeof joined, "%s/%s", base, name);
  }
  char *slash = strrchr(joined, '/');
  *slash = '\0';
  if (realpath(joined[0] ? joined : "/", buffer) == NULL) return NULL;
  size_t length = strlen(buffer);
  snprintf(buffer + length, PATH_MAX - length, "/%s", slash + 1);
  return below(buffer);
}

static uint64_t inode_of(int fd) {
  struct stat st;
  return fstat(fd, &st) == 0 ? st.st_ino : 0;
}

/* With the mutex held. Other processes are kept out by O_APPEND. */
static void put(char op, uint64_t inode, uint64_t offset, const void *data, size_t size, const char *name,
                const char *new_name) {
  struct entry entry = {op, inode, offset, size, name ? strlen(name) : 0, new_name ? strlen(new_name) : 0};
  struct iovec parts[] = {{&entry, sizeof entry},
                          {(void *)data, size},
                          {(void *)(name ? name : ""), entry.name},
                          {(void *)(new_name ? new_name : ""), entry.new_name}};
  ssize_t whole = sizeof entry + size + entry.name + entry.new_name;
  int before = errno;
  if (syscall(SYS_writev, record_fd, parts, 4) != whole) fail("the record cannot be written");
  errno = before;
}

/* ---------------------------------------------------------------------------------------------- writes */

ssize_t pwrite64(int fd, const void *data, size_t size, off64_t offset) {
  char buffer[PATH_MAX];
  const char *name = path_of(fd, buffer);
  if (name == NULL) return syscall(SYS_pwrite64, fd, data, size, offset);
  pthread_mutex_lock(&mutex);
  ssize_t done = syscall(SYS_pwrite64, fd, data, size, offset);
  if (done > 0) put('W', inode_of(fd), offset, data, done, name, NULL);
  pthread_mutex_unlock(&mutex);
  return done;
}

ssize_t pwrite(int fd, const void *data, size_t size, off_t offset) { return pwrite64(fd, data, size, offset); }

ssize_t write(int fd, const void *data, size_t size) {
  char buffer[PATH_MAX];
  const char *name = path_of(fd, buffer);
  if (name == NULL) return syscall(SYS_write, fd, data, size);
  pthread_mutex_lock(&mutex);
  ssize_t done = syscall(SYS_write, fd, data, size);
  /* Behind the write, so that it holds for O_APPEND, too. */
  if (done > 0) put('W', inode_of(fd), lseek(fd, 0, SEEK_CUR) - done, data, done, name, NULL);
  pthread_mutex_unlock(&mutex);
  return done;
}

ssize_t writev(int fd, const struct iovec *parts, int count) {
  char buffer[PATH_MAX];
  if (path_of(fd, buffer) == NULL) return syscall(SYS_writev, fd, parts, count);
  ssize_t whole = 0;
  for (int i = 0; i < count; i++) {
    ssize_t done = write(fd, parts[i].iov_base, parts[i].iov_len);
    if (done < 0) return whole ? whole : -1;
    whole += done;
    if ((size_t)done < parts[i].iov_len) break;
  }
  return whole;
}

int ftruncate64(int fd, off64_t length) {
  char buffer[PATH_MAX];
  const char *name = path_of(fd, buffer);
  if (name == NULL) return syscall(SYS_ftruncate, fd, length);
  pthread_mutex_lock(&mutex);
  int done = syscall(SYS_ftruncate, fd, length);
  if (done == 0) put('T', inode_of(fd), length, NULL, 0, name, NULL);
  pthread_mutex_unlock(&mutex);
  return done;
}

int ftruncate(int fd, off_t length) { return ftruncate64(fd, length); }

/* ----------------------------------------------------------------------------------------------- syncs */

static int synced(int fd, long number_of_call) {
  char buffer[PATH_MAX];
  const char *name = path_of(fd, buffer);
  if (name == NULL) return syscall(number_of_call, fd);
  pthread_mutex_lock(&mutex);
  uint64_t number = ((uint64_t)getpid() << 32) | ++syncs, inode = inode_of(fd);
  put('B', inode, number, NULL, 0, name, NULL);
  pthread_mutex_unlock(&mutex);
  int done = syscall(number_of_call, fd);
  pthread_mutex_lock(&mutex);
  if (done == 0) put('E', inode, number, NULL, 0, name, NULL);
  pthread_mutex_unlock(&mutex);
  return done;
}

int fsync(int fd) { return synced(fd, SYS_fsync); }
int fdatasync(int fd) { return synced(fd, SYS_fdatasync); }

/* ----------------------------------------------------------------------------------------------- names */

static int opened(int dirfd, const char *path, int flags, mode_t mode) {
  char buffer[PATH_MAX];
  const char *name = flags & (O_CREAT | O_TRUNC) ? path_at(dirfd, path, buffer) : NULL;
  if (name == NULL) return syscall(SYS_openat, dirfd, path, flags, mode);
  if (flags & (O_SYNC | O_DSYNC)) fail("O_SYNC is not recorded");
  pthread_mutex_lock(&mutex);
  struct stat st;
  int was_there = fstatat(AT_FDCWD, buffer, &st, 0) == 0;
  int fd = syscall(SYS_openat, dirfd, path, flags, mode);
  if (fd >= 0 && !was_there) put('C', inode_of(fd), 0, NULL, 0, name, NULL);
  if (fd >= 0 && was_there && (flags & O_TRUNC) && st.st_size) put('T', inode_of(fd), 0, NULL, 0, name, NULL);
  pthread_mutex_unlock(&mutex);
  return fd;
}

#define MODE \
  mode_t mode = 0; \
  if (flags & (O_CREAT | O_TMPFILE)) { \
    va_list rest; \
    va_start(rest, flags); \
    mode = va_arg(rest, mode_t); \
    va_end(rest); \
  }

int open64(const char *path, int flags, ...) { MODE return opened(AT_FDCWD, path, flags | O_LARGEFILE, mode); }
int open(const char *path, int flags, ...) { MODE return opened(AT_FDCWD, path, flags, mode); }
int openat64(int dirfd, const char *path, int flags, ...) {
  MODE return opened(dirfd, path, flags | O_LARGEFILE, mode);
}
int openat(int dirfd, const char *path, int flags, ...) { MODE return opened(dirfd, path, flags, mode); }

int unlinkat(int dirfd, const char *path, int flags) {
  char buffer[PATH_MAX];
  const char *name = path_at(dirfd, path, buffer);
  if (name == NULL) return syscall(SYS_unlinkat, dirfd, path, flags);
  pthread_mutex_lock(&mutex);
  int done = syscall(SYS_unlinkat, dirfd, path, flags);
  if (done == 0) put('U', 0, 0, NULL, 0, name, NULL);
  pthread_mutex_unlock(&mutex);
  return done;
}

int unlink(const char *path) { return unlinkat(AT_FDCWD, path, 0); }
int rmdir(const char *path) { return unlinkat(AT_FDCWD, path, AT_REMOVEDIR); }

int renameat2(int from_fd, const char *from, int to_fd, const char *to, unsigned flags) {
  char from_buffer[PATH_MAX], to_buffer[PATH_MAX];
  const char *name = path_at(from_fd, from, from_buffer), *new_name = path_at(to_fd, to, to_buffer);
  if (name == NULL && new_name == NULL) return syscall(SYS_renameat2, from_fd, from, to_fd, to, flags);
  if (name == NULL || new_name == NULL || flags & RENAME_EXCHANGE) fail("this rename is not recorded");
  pthread_mutex_lock(&mutex);
  int done = syscall(SYS_renameat2, from_fd, from, to_fd, to, flags);
  if (done == 0) put('R', 0, 0, NULL, 0, name, new_name);
  pthread_mutex_unlock(&mutex);
  return done;
}

int renameat(int from_fd, const char *from, int to_fd, const char *to) {
  return renameat2(from_fd, from, to_fd, to, 0);
}
int rename(const char *from, const char *to) { return renameat2(AT_FDCWD, from, AT_FDCWD, to, 0); }

int mkdirat(int dirfd, const char *path, mode_t mode) {
  char buffer[PATH_MAX];
  const char *name = path_at(dirfd, path, buffer);
  if (name == NULL) return syscall(SYS_mkdirat, dirfd, path, mode);
  pthread_mutex_lock(&mutex);
  int done = syscall(SYS_mkdirat, dirfd, path, mode);
  struct stat st;
  if (done == 0 && fstatat(AT_FDCWD, buffer, &st, 0) == 0) put('M', st.st_ino, 0, NULL, 0, name, NULL);
  pthread_mutex_unlock(&mutex);
  return done;
}

int mkdir(const char *path, mode_t mode) { return mkdirat(AT_FDCWD, path, mode); }
