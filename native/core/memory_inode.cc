// SPDX-License-Identifier: Apache-2.0
#include "core/memory_inode.h"

#include <algorithm>
#include <cerrno>

#include "core/mapped_range.h"

namespace varve {

bool MemorySpace::Take(uint64_t bytes) {
  uint64_t before = used_.load();
  do {
    uint64_t limit = capacity_.load();
    if (limit != 0 && (before > limit || bytes > limit - before)) return false;
  } while (!used_.compare_exchange_weak(before, before + bytes));
  return true;
}

MemoryInode::MemoryInode(std::shared_ptr<MemorySpace> space, bool is_directory, bool crash_model)
    : space_(std::move(space)), is_directory_(is_directory), crash_model_(crash_model) {
  if (crash_model_ && !is_directory_) durable_.emplace();
}

MemoryInode::~MemoryInode() { space_->Give(taken_.load()); }

void MemoryInode::DropUser() {
  if (users_.fetch_sub(1) == 1) space_->Give(taken_.exchange(0));
}

uint64_t MemoryInode::Size() {
  std::lock_guard<std::mutex> lock(mutex_);
  return heap_.size;
}

uint64_t MemoryInode::Read(uint64_t position, MutableBytes to, Status* status) {
  std::lock_guard<std::mutex> lock(mutex_);
  if (position >= heap_.size) return 0;
  uint64_t length = std::min<uint64_t>(to.size(), heap_.size - position);
  if (slot_) {
    *status = slot_->Read(position, to.first(length));
  } else {
    heap_.CopyOut(position, to.first(length));
  }
  return length;
}

Status MemoryInode::Write(uint64_t position, Bytes from) {
  if (from.empty()) return Status::Ok();
  std::lock_guard<std::mutex> lock(mutex_);
  uint64_t end = position + from.size();
  VARVE_TRY(Grow(end));
  BeforeChange();
  if (!slot_ && end > kHeapBytesMax) VARVE_TRY(MoveToSlot());
  if (slot_) {
    VARVE_TRY(slot_->Write(position, from));
    heap_.size = std::max(heap_.size, end);
  } else {
    heap_.Write(position, from);
  }
  return Status::Ok();
}

Status MemoryInode::Allocate(uint64_t bytes) {
  std::lock_guard<std::mutex> lock(mutex_);
  VARVE_TRY(Grow(bytes));
  BeforeChange();
  heap_.size = std::max(heap_.size, bytes);
  return Status::Ok();
}

Status MemoryInode::Truncate(uint64_t bytes) {
  std::lock_guard<std::mutex> lock(mutex_);
  if (bytes > MemorySlot::kBytes) return Status::FromErrno(EFBIG, What("truncate"));
  BeforeChange();
  if (slot_ && bytes < heap_.size) VARVE_TRY(slot_->Drop(bytes));
  heap_.Resize(bytes);
  smallest_size_ = std::min(smallest_size_, bytes);
  uint64_t taken = taken_.load();
  if (bytes < taken) {
    space_->Give(taken - bytes);
    taken_.store(bytes);
  }
  return Status::Ok();
}

Status MemoryInode::Populate(uint64_t position, uint64_t bytes) {
  std::lock_guard<std::mutex> lock(mutex_);
  uint64_t end = position + bytes;
  if (end > RoundUp(heap_.size, PageBytes())) {
    return Status(Code::kNoSpace, What("prefault") + ": beyond its end: allocate first");
  }
  return Grow(std::min(end, heap_.size));
}

Result<uint8_t*> MemoryInode::Map(uint64_t position, uint64_t bytes, MapMode mode,
                                  std::shared_ptr<MemorySlot>* slot) {
  std::lock_guard<std::mutex> lock(mutex_);
  if (!slot_) VARVE_TRY(MoveToSlot());
  *slot = slot_;
  return slot_->Map(position, bytes, mode);
}

Status MemoryInode::Sync() {
  if (!crash_model_) return Status::Ok();
  std::lock_guard<std::mutex> lock(mutex_);
  if (!durable_) return Status::Ok();
  smallest_size_ = heap_.size;
  if (!slot_ && !believed_clean_) {
    durable_.reset();
    return Status::Ok();
  }
  if (!believed_clean_) return ReadLive(&*durable_);
  FileImage live;
  VARVE_TRY(ReadLive(&live));
  SyncChangedPages(*believed_clean_, live, &*durable_);
  believed_clean_ = std::move(live);
  return Status::Ok();
}

Status MemoryInode::LoseDirtyPages() {
  if (!crash_model_) return Status::Ok();
  std::lock_guard<std::mutex> lock(mutex_);
  if (!durable_) return Status::Ok();
  if (!believed_clean_) believed_clean_.emplace();
  return ReadLive(&*believed_clean_);
}

Status MemoryInode::Corrupt(uint64_t position, Bytes from) {
  std::lock_guard<std::mutex> lock(mutex_);
  if (position > heap_.size || from.size() > heap_.size - position) {
    return Status(Code::kInvalid, path + ": can't change bytes behind its end");
  }
  if (slot_) {
    VARVE_TRY(slot_->Write(position, from));
  } else {
    heap_.Write(position, from);
  }
  for (std::optional<FileImage>* image : {&durable_, &believed_clean_}) {
    if (!*image || position >= (*image)->size) continue;
    (*image)->Write(position, from.first(std::min<uint64_t>(from.size(), (*image)->size - position)));
  }
  return Status::Ok();
}

Result<FileImage> MemoryInode::AfterCrash(MemoryVfs::Loss loss, LossRandom& random, FileImage* scratch) {
  std::lock_guard<std::mutex> lock(mutex_);
  if (durable_ && loss == MemoryVfs::Loss::kAll) return *durable_;
  if (!slot_ && !durable_) return heap_;
  if (!slot_) return MixImages(*durable_, heap_, smallest_size_, loss, random);
  Status read = ReadLive(scratch);
  if (!read.ok()) return read;
  if (!durable_ || loss == MemoryVfs::Loss::kNone) return *scratch;
  return MixImages(*durable_, *scratch, smallest_size_, loss, random);
}

void MemoryInode::Restore(FileImage image, const MemoryInode& copy_of) {
  uint64_t taken = std::min(image.size, std::max<uint64_t>(copy_of.taken_.load(), image.bytes.size()));
  space_->TakeAnyway(taken);
  taken_.store(taken);
  heap_ = std::move(image);
  durable_.reset();
  smallest_size_ = heap_.size;
}

bool MemoryInode::IsTouchedBeyondEnd() {
  std::lock_guard<std::mutex> lock(mutex_);
  if (!slot_) return false;
  uint64_t end = RoundUp(heap_.size, PageBytes());
  return slot_->TouchedEnd(end) > end;
}

Status MemoryInode::Grow(uint64_t end) {
  if (end > MemorySlot::kBytes) return Status::FromErrno(EFBIG, What("growth"));
  uint64_t taken = taken_.load();
  if (end <= taken) return Status::Ok();
  if (!space_->Take(end - taken)) return Status::FromErrno(ENOSPC, What("growth"));
  taken_.store(end);
  return Status::Ok();
}

Status MemoryInode::MoveToSlot() {
  BeforeChange();  // from here on stores are not seen
  Result<std::shared_ptr<MemorySlot>> slot = space_->arena().Take();
  if (!slot.ok()) return slot.status();
  VARVE_TRY((*slot)->Write(0, heap_.bytes));
  slot_ = std::move(*slot);
  heap_.bytes = {};
  return Status::Ok();
}

void MemoryInode::BeforeChange() {
  if (crash_model_ && !durable_) durable_ = heap_;
}

Status MemoryInode::ReadLive(FileImage* live) {
  if (!slot_) {
    *live = heap_;
    return Status::Ok();
  }
  live->size = heap_.size;
  live->bytes.resize(std::min(heap_.size, slot_->TouchedEnd(0)));
  return slot_->Read(0, live->bytes);
}

}  // namespace varve
