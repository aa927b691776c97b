/*
 * A disk that is full, slow or broken, for the files of one folder: preloaded (LD_PRELOAD) by disk.py beside it.
 *
 * TENUTO_TEST_FOLDER is the folder, without symbolic links; TENUTO_TEST_DISK the file of a `struct disk`, elsewhere,
 * which the test changes while the program runs. Only what makes a file longer takes room, and what removes or
 * shortens one gives it back, as on a real disk.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

_Static_assert(sizeof(long) == 8, "offsets are handed to system calls as they are");

struct disk {
  _Atomic int64_t limited;    /* whether `room` counts */
  _Atomic int64_t room;       /* bytes by which files may still grow */
  _Atomic int64_t sync_delay; /* microseconds that a sync takes longer */
  _Atomic int64_t sync_error; /* errno of the next sync; 0: none */
  _Atomic int64_t faults;     /* writes and syncs that were refused or delayed */
};

static struct disk *disk;
static char folder[PATH_MAX];
static size_t folder_length;

__attribute__((constructor)) static void start(void) {
  const char *path = getenv("TENUTO_TEST_DISK"), *of = getenv("TENUTO_TEST_FOLDER");
  if (path == NULL || of == NULL) return;
  int fd = syscall(SYS_openat, AT_FDCWD, path, O_RDWR | O_CLOEXEC, 0);
  disk = fd < 0 ? MAP_FAILED : mmap(NULL, sizeof *disk, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  if (disk == MAP_FAILED) {
    dprintf(2, "disk: %s: %s\n", path, strerror(errno));
    _exit(99);
  }
  syscall(SYS_close, fd);
  folder_length = strlen(of);
  memcpy(folder, of, folder_length);
}

static int is_below(const char *path) {
  return disk != NULL && strncmp(path, folder, folder_length) == 0 && path[folder_length] == '/';
}

static int is_ours(int fd) {
  char link[40], path[PATH_MAX];
  if (disk == NULL) return 0;
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  ssize_t length = readlink(link, path, sizeof path - 1);
  if (length < 0) return 0;
  path[length] = '\0';
  return is_below(path);
}

static int64_t size_of(int fd) {
  struct stat st;
  return fstat(fd, &st) == 0 ? st.st_size : 0;
}

/* Take room for a file to reach an end; 0 when there is none. */
static int has_room(int fd, int64_t end) {
  int64_t more = end - size_of(fd);
  if (more <= 0) return 1;
  if (atomic_fetch_sub(&disk->room, more) >= more || !disk->limited) return 1;
  atomic_fetch_add(&disk->room, more);
  atomic_fetch_add(&disk->faults, 1);
  errno = ENOSPC;
  return 0;
}

ssize_t pwrite64(int fd, const void *data, size_t size, off64_t offset) {
  if (is_ours(fd) && !has_room(fd, offset + size)) return -1;
  return syscall(SYS_pwrite64, fd, data, size, offset);
}

ssize_t pwrite(int fd, const void *data, size_t size, off_t offset) { return pwrite64(fd, data, size, offset); }

ssize_t write(int fd, const void *data, size_t size) {
  if (is_ours(fd)) {
    int64_t at = fcntl(fd, F_GETFL) & O_APPEND ? size_of(fd) : lseek(fd, 0, SEEK_CUR);
    if (!has_room(fd, at + size)) return -1;
  }
  return syscall(SYS_write, fd, data, size);
}

int ftruncate64(int fd, off64_t length) {
  if (is_ours(fd)) {
    if (!has_room(fd, length)) return -1;
    int64_t less = size_of(fd) - length;
    if (less > 0) atomic_fetch_add(&disk->room, less);
  }
  return syscall(SYS_ftruncate, fd, length);
}

int ftruncate(int fd, off_t length) { return ftruncate64(fd, length); }

int posix_fallocate64(int fd, off64_t offset, off64_t length) {
  if (is_ours(fd) && !has_room(fd, offset + length)) return ENOSPC;
  return syscall(SYS_fallocate, fd, 0, offset, length) == 0 ? 0 : errno;
}

int posix_fallocate(int fd, off_t offset, off_t length) { return posix_fallocate64(fd, offset, length); }

int unlink(const char *path) {
  struct stat st;
  int is_counted = disk != NULL && is_below(path) && stat(path, &st) == 0 && st.st_nlink == 1;
  int done = syscall(SYS_unlinkat, AT_FDCWD, path, 0);
  if (done == 0 && is_counted) atomic_fetch_add(&disk->room, st.st_size);
  return done;
}

static int synced(int fd, long number) {
  if (is_ours(fd)) {
    int64_t delay = disk->sync_delay, error = atomic_exchange(&disk->sync_error, 0);
    if (delay > 0) {
      struct timespec time = {delay / 1000000, delay % 1000000 * 1000};
      nanosleep(&time, NULL);
    }
    if (delay > 0 || error != 0) atomic_fetch_add(&disk->faults, 1);
    if (error != 0) {
      errno = error;
      return -1;
    }
  }
  return syscall(number, fd);
}

int fsync(int fd) { return synced(fd, SYS_fsync); }
int fdatasync(int fd) { return synced(fd, SYS_fdatasync); }
