/*
 * Faults below SQLite: the N-th write, sync or truncation of any database file fails, or each sync
 * takes longer.
 *
 * It works inside the VFS "unix", because the store names that one. Never uninstalled. Faults are
 * for one thread; delays and counts for any number.
 */
#pragma once

#include <stdbool.h>

/* How the device fails: no space left, or an I/O error; or the process is killed at that point. */
enum vfs_fault { VFS_FAULT_FULL, VFS_FAULT_IO, VFS_FAULT_KILL };

void vfs_faults_install(void);

/* The N-th step from now (1 = the next) fails, and every later one too when `forever`: a write
 * leaves half of its bytes behind. 0 switches the faults off. */
void vfs_faults_at(unsigned long nth, enum vfs_fault fault, bool forever);

/* True when a step has failed since vfs_faults_at. */
bool vfs_faults_struck(void);
/* Syncs since vfs_faults_at. */
unsigned long vfs_faults_sync_count(void);
/* How long they took in all, the delays among it. */
double vfs_faults_sync_seconds(void);

/* From now on each sync takes that much longer; 0: no longer. */
void vfs_faults_delay_syncs(long ms);
