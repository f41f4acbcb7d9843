// A CUDA card whose memory is main memory: every operation runs the CPU's kernel on the same bytes.
// What it keeps of a card is what code can get wrong without one: the device of each tensor and
// generator, CUDA's dispatch keys (hence its autocast), a memory which runs out, and the error
// where devices are mixed. Its numbers are the CPU's, and nothing runs asynchronously.
#include <ATen/ATen.h>
#include <ATen/CPUGeneratorImpl.h>
#include <ATen/EmptyTensor.h>
#include <ATen/detail/CUDAHooksInterface.h>
#include <ATen/ops/set_native.h>
#include <c10/core/CPUAllocator.h>
#include <c10/core/CachingDeviceAllocator.h>
#include <c10/core/impl/DeviceGuardImplInterface.h>
#include <torch/library.h>

namespace {
using at::Generator, at::Tensor;
using c10::DataPtr, c10::Device, c10::DeviceIndex, c10::DeviceType, c10::DispatchKey;
using c10::DispatchKeySet, c10::IValue, c10::Storage, c10::Stream;
using MaybeType = std::optional<at::ScalarType>;

const Device CARD(DeviceType::CUDA, 0), HOST(DeviceType::CPU);

// ---- Memory: main memory, counted as the card's and capped.

std::atomic<int64_t> live{0}, peak{0}, limit{-1};
std::string failure;  // said instead of CUDA's own words where memory runs out

struct Charge {
  Storage host;
  int64_t bytes;
  Charge(Storage given) : host(std::move(given)), bytes(host.nbytes()) {
    if (limit >= 0 && live + bytes > limit) {
      TORCH_CHECK(failure.empty(), failure);
      TORCH_CHECK_WITH(OutOfMemoryError, false, "CUDA out of memory. Tried to allocate ", bytes,
                       " bytes. GPU 0 holds ", live.load(), " of ", limit.load(), " bytes.");
    }
    const int64_t now = live += bytes;
    for (int64_t top = peak; now > top && !peak.compare_exchange_weak(top, now);) {
    }
  }
  ~Charge() { live -= bytes; }
};

DataPtr charged(const Storage& host) {
  auto* charge = new Charge(host);
  void* bytes = charge->host.mutable_data();
  return {bytes, charge, [](void* context) { delete static_cast<Charge*>(context); }, CARD};
}

struct Memory final : c10::DeviceAllocator {
  DataPtr allocate(size_t bytes) override {
    return charged(Storage(Storage::use_byte_size_t(), bytes, c10::GetCPUAllocator(), false));
  }
  void copy_data(void* to, const void* from, size_t bytes) const override {
    memcpy(to, from, bytes);
  }
  bool initialized() override { return true; }
  void emptyCache(c10::MempoolId_t) override {}
  void recordStream(const DataPtr&, Stream) override {}
  c10::CachingDeviceAllocator::DeviceStats getDeviceStats(DeviceIndex) override { return {}; }
  void resetAccumulatedStats(DeviceIndex) override {}
  void resetPeakStats(DeviceIndex) override { peak.store(live); }
};
Memory memory;

Storage with_bytes(DataPtr bytes, size_t size, c10::Allocator* allocator) {
  return Storage(Storage::use_byte_size_t(), size, std::move(bytes), allocator, true);
}
Storage to_card(const Storage& host) { return with_bytes(charged(host), host.nbytes(), &memory); }
Storage to_host(const Storage& card) {
  auto* owner = new Storage(card);  // the card's bytes live as long as the host looks at them
  auto release = [](void* context) { delete static_cast<Storage*>(context); };
  DataPtr bytes(owner->mutable_data(), owner, release, HOST);
  return with_bytes(std::move(bytes), card.nbytes(), c10::GetCPUAllocator());
}

// ---- One device and one stream, which is always done.

Device only_card(Device device) {
  TORCH_CHECK(device.index() <= 0, "CUDA error: invalid device ordinal");
  return CARD;
}

struct Guard final : c10::impl::DeviceGuardImplInterface {
  const Stream stream{Stream::DEFAULT, CARD};
  DeviceType type() const override { return DeviceType::CUDA; }
  Device exchangeDevice(Device device) const override { return only_card(device); }
  Device getDevice() const override { return CARD; }
  void setDevice(Device device) const override { only_card(device); }
  void uncheckedSetDevice(Device) const noexcept override {}
  Stream getStream(Device) const noexcept override { return stream; }
  Stream getNewStream(Device, int) const override { return stream; }
  Stream exchangeStream(Stream) const noexcept override { return stream; }
  DeviceIndex deviceCount() const noexcept override { return 1; }
  void record(void** event, const Stream&, DeviceIndex, c10::EventFlag) const override {
    static int any;  // an event only has to be there
    *event = &any;
  }
  void block(void*, const Stream&) const override {}
  bool queryEvent(void*) const override { return true; }
  void destroyEvent(void*, DeviceIndex) const noexcept override {}
  bool queryStream(const Stream&) const override { return true; }
  void synchronizeStream(const Stream&) const override {}
};
C10_REGISTER_GUARD_IMPL(CUDA, Guard);

// ---- Generators of the card, each a CPU generator inside.

struct CardGenerator final : c10::GeneratorImpl {
  Generator inner;
  explicit CardGenerator(Generator given)
      : GeneratorImpl(CARD, DispatchKeySet(DispatchKey::CUDA)), inner(std::move(given)) {}
  void set_current_seed(uint64_t seed) override { inner.set_current_seed(seed); }
  uint64_t current_seed() const override { return inner.current_seed(); }
  uint64_t seed() override { return inner.seed(); }
  void set_offset(uint64_t) override {}
  uint64_t get_offset() const override { return 0; }
  void set_state(const c10::TensorImpl& state) override {
    inner.unsafeGetGeneratorImpl()->set_state(state);
  }
  c10::intrusive_ptr<c10::TensorImpl> get_state() const override {
    return inner.unsafeGetGeneratorImpl()->get_state();
  }
  CardGenerator* clone_impl() const override { return new CardGenerator(inner.clone()); }
};

Generator new_generator() {
  return at::make_generator<CardGenerator>(at::detail::createCPUGenerator());
}
const Generator& default_generator() {
  static const Generator made = new_generator();
  return made;
}
const Generator& inside(const Generator& generator) {
  return static_cast<CardGenerator*>(generator.unsafeGetGeneratorImpl())->inner;
}

struct Hooks final : at::CUDAHooksInterface {
  explicit Hooks(at::CUDAHooksArgs) {}
  void init() const override {}
  bool isBuilt() const override { return true; }
  bool isAvailable() const override { return true; }
  bool hasCUDA() const override { return true; }
  bool hasPrimaryContext(DeviceIndex) const override { return true; }
  DeviceIndex deviceCount() const override { return 1; }
  int getNumGPUs() const override { return 1; }
  DeviceIndex current_device() const override { return 0; }
  DeviceIndex getCurrentDevice() const override { return 0; }
  void setCurrentDevice(DeviceIndex) const override {}
  DeviceIndex exchangeDevice(DeviceIndex) const override { return 0; }
  DeviceIndex maybeExchangeDevice(DeviceIndex) const override { return 0; }
  const Generator& getDefaultGenerator(DeviceIndex) const override { return default_generator(); }
  Generator getNewGenerator(DeviceIndex) const override { return new_generator(); }
  at::Allocator* getPinnedMemoryAllocator() const override { return c10::GetCPUAllocator(); }
  at::Allocator* getCUDADeviceAllocator() const override { return &memory; }
  Device getDeviceFromPtr(void*) const override { return CARD; }
  void deviceSynchronize(DeviceIndex) const override {}
};
using at::CUDAHooksRegistry, at::RegistererCUDAHooksRegistry;
C10_REGISTER_CLASS(CUDAHooksRegistry, CUDAHooks, Hooks);

// ---- One operation: its arguments seen from the host, its results seen from the card.

Tensor over(const Storage& storage, const Tensor& like, DispatchKey key) {
  auto made = at::detail::make_tensor<c10::TensorImpl>(Storage(storage), DispatchKeySet(key),
                                                       like.dtype());
  auto* impl = made.unsafeGetTensorImpl();
  impl->set_sizes_and_strides(like.sizes(), like.strides(), like.storage_offset());
  return made;
}
Tensor seen_from_host(const Tensor& t) {
  return t.is_cuda() ? over(to_host(t.storage()), t, DispatchKey::CPU) : t;
}

struct Operation {
  std::vector<std::pair<Storage, Storage>> storages;  // host, card: so that views stay views
  std::vector<std::pair<Tensor, Tensor>> arguments;   // host, card
  bool card = false, host = false;

  Storage host_storage(const Storage& on_card) {
    for (auto& [seen, own] : storages)
      if (own.is_alias_of(on_card)) return seen;
    storages.emplace_back(to_host(on_card), on_card);
    return storages.back().first;
  }
  Storage card_storage(const Storage& on_host) {
    for (auto& [seen, own] : storages)
      if (seen.is_alias_of(on_host)) return own;
    storages.emplace_back(on_host, to_card(on_host));
    return storages.back().second;
  }
  Tensor in(const Tensor& t, bool index = false) {
    if (!t.defined()) return t;
    if (!t.is_cuda()) {
      host |= t.dim() > 0 && !index;  // CUDA takes numbers and indices from the host
      return t;
    }
    card = true;
    for (auto& [seen, own] : arguments)
      if (own.is_same(t)) return seen;
    arguments.emplace_back(over(host_storage(t.storage()), t, DispatchKey::CPU), t);
    return arguments.back().first;
  }
  Tensor out(const Tensor& t) {
    if (!t.defined() || !card || !t.is_cpu()) return t;
    for (auto& [seen, own] : arguments)
      if (seen.is_same(t)) return own;
    return over(card_storage(t.storage()), t, DispatchKey::CUDA);
  }
  void in(IValue& value) {
    if (value.isTensor()) {
      value = in(value.toTensor());
    } else if (value.isTensorList()) {
      c10::List<Tensor> made;
      for (const Tensor& t : value.toTensorVector()) made.push_back(in(t));
      value = made;
    } else if (value.isOptionalTensorList()) {
      c10::List<std::optional<Tensor>> made;
      for (const std::optional<Tensor> t : value.toOptionalTensorList())
        made.push_back(t ? std::optional(in(*t, true)) : std::nullopt);
      value = made;
    } else if (value.isDevice() && value.toDevice().is_cuda()) {
      card = true;
      value = HOST;
    }
  }
  void draw(IValue& value, const c10::Argument& argument, const std::string& name) {
    if (value.isGenerator()) {
      const auto type = value.toGenerator().device().type();
      TORCH_CHECK((type == DeviceType::CUDA) == card, "Expected a '", card ? "cuda" : "cpu",
                  "' device type for generator but found '", type, "' (", name, ")");
      if (card) value = inside(value.toGenerator());
    } else if (card && value.isNone() && argument.type()->str() == "Generator?") {
      value = inside(default_generator());
    }
  }
  void out(IValue& value) {
    if (value.isTensor()) value = out(value.toTensor());
    if (!value.isTensorList()) return;
    c10::List<Tensor> made;
    for (const Tensor& t : value.toTensorVector()) made.push_back(out(t));
    value = made;
  }
  void keep_changes() {  // an argument written to may have another shape, size or storage now
    for (auto& [seen, own] : storages)
      if (seen.nbytes() != own.nbytes()) {
        own.set_data_ptr_noswap(charged(seen));
        own.set_nbytes(seen.nbytes());
      }
    for (auto& [seen, own] : arguments) {
      auto* impl = own.unsafeGetTensorImpl();
      const auto storage = card_storage(seen.storage());
      if (!storage.is_alias_of(own.storage())) impl->set_storage_keep_dtype(storage);
      if (seen.sizes() != own.sizes() || seen.strides() != own.strides())
        impl->set_sizes_and_strides(seen.sizes(), seen.strides(), seen.storage_offset());
    }
  }
};

void run_on_cpu(const c10::OperatorHandle& op, torch::jit::Stack* stack) {
  const auto& schema = op.schema();
  const auto count = schema.arguments().size(), begin = stack->size() - count;
  Operation operation;
  for (size_t i = 0; i < count; i++) operation.in((*stack)[begin + i]);
  TORCH_CHECK(!(operation.card && operation.host),
              "Expected all tensors to be on the same device, but found at least two devices, "
              "cuda:0 and cpu! (", schema.name(), ")");
  for (size_t i = 0; i < count; i++)
    operation.draw((*stack)[begin + i], schema.arguments()[i], schema.name());
  op.callBoxed(stack);
  operation.keep_changes();
  for (size_t i = 0; i < schema.returns().size(); i++) operation.out((*stack)[begin + i]);
}

// ---- Operations the CPU has not, or not in CUDA's way.

Tensor empty(at::IntArrayRef size, MaybeType type, std::optional<at::Layout>,
             std::optional<Device> device, std::optional<bool>,
             std::optional<at::MemoryFormat> format) {
  only_card(device.value_or(CARD));
  return at::detail::empty_generic(size, &memory, DispatchKeySet(DispatchKey::CUDA),
                                   c10::dtype_or_default(type), format);
}
Tensor empty_strided(at::IntArrayRef size, at::IntArrayRef stride, MaybeType type,
                     std::optional<at::Layout>, std::optional<Device> device,
                     std::optional<bool>) {
  only_card(device.value_or(CARD));
  return at::detail::empty_strided_generic(size, stride, &memory,
                                           DispatchKeySet(DispatchKey::CUDA),
                                           c10::dtype_or_default(type));
}
Tensor& copy_(Tensor& to, const Tensor& from, bool) {  // the one operation that mixes devices
  seen_from_host(to).copy_(seen_from_host(from));
  return to;
}
std::tuple<Tensor, Tensor> dropout(const Tensor& input, double p, std::optional<bool> train) {
  // The CPU's draws from the CPU's generator, whichever the card's is.
  if (!train.value_or(true)) return {input.clone(), at::ones_like(input, at::kBool)};
  const auto kept = at::empty_like(input, at::kBool).bernoulli_(1 - p);
  return {input * kept * (p == 1 ? 0 : 1 / (1 - p)), kept};
}
Tensor mm_as(const Tensor& a, const Tensor& b, at::ScalarType type) {
  c10::impl::ExcludeDispatchKeyGuard as_wide_as_asked(c10::autocast_dispatch_keyset);
  return at::mm(a.to(type), b.to(type));
}
Tensor& mm_as_out(const Tensor& a, const Tensor& b, at::ScalarType type, Tensor& out) {
  return out.copy_(mm_as(a, b, type));
}
Tensor addmm_as(const Tensor& self, const Tensor& a, const Tensor& b, at::ScalarType type,
             const at::Scalar& beta, const at::Scalar& alpha) {
  c10::impl::ExcludeDispatchKeyGuard as_wide_as_asked(c10::autocast_dispatch_keyset);
  return at::addmm(self.to(type), a.to(type), b.to(type), beta, alpha);
}
Tensor& addmm_as_out(const Tensor& self, const Tensor& a, const Tensor& b, at::ScalarType type,
                  const at::Scalar& beta, const at::Scalar& alpha, Tensor& out) {
  return out.copy_(addmm_as(self, a, b, type, beta, alpha));
}
Tensor bmm_as(const Tensor& a, const Tensor& b, at::ScalarType type) {
  c10::impl::ExcludeDispatchKeyGuard as_wide_as_asked(c10::autocast_dispatch_keyset);
  return at::bmm(a.to(type), b.to(type));
}
Tensor attention(const Tensor& query, const Tensor& key, const Tensor& value,
                 const std::optional<Tensor>& mask, double dropout_p, bool is_causal,
                 std::optional<double> scale, bool enable_gqa) {
  // CUDA's kernels refuse what the plain formula would promote.
  const auto type = query.scalar_type();
  TORCH_CHECK(type == key.scalar_type() && type == value.scalar_type(),
              "Expected query, key, and value to have the same dtype, but got query.dtype: ", type,
              " key.dtype: ", key.scalar_type(), " and value.dtype: ", value.scalar_type());
  for (const auto& other : {key, value, mask && mask->defined() ? *mask : query})
    TORCH_CHECK(other.device() == query.device(), "Expected all tensors to be on the same device, ",
                "but found ", query.device(), " and ", other.device(), " in attention");
  TORCH_CHECK(!mask || !mask->defined() || mask->scalar_type() == at::kBool ||
                  mask->scalar_type() == type,
              "invalid dtype for bias - should match query's dtype: ", type);
  auto added = mask;  // the formula adds its mask to the scores
  if (mask && mask->defined() && mask->scalar_type() == at::kBool)
    added = at::zeros_like(*mask, type).masked_fill_(mask->logical_not(), -INFINITY);
  return std::get<0>(at::_scaled_dot_product_attention_math(
      query, key, value, added, dropout_p, is_causal, std::nullopt, scale, enable_gqa));
}

const int registered = [] {
  c10::SetAllocator(DeviceType::CUDA, &memory, 255);
  return 0;
}();
}  // namespace

TORCH_LIBRARY_IMPL(_, CUDA, m) {
  m.fallback(torch::CppFunction::makeFromBoxedFunction<&run_on_cpu>());
}
TORCH_LIBRARY_IMPL(aten, CUDA, m) {
  m.impl("empty.memory_format", &empty);
  m.impl("empty_strided", &empty_strided);
  m.impl("copy_", &copy_);
  m.impl("native_dropout", &dropout);
  m.impl("mm.dtype", &mm_as);
  m.impl("mm.dtype_out", &mm_as_out);
  m.impl("addmm.dtype", &addmm_as);
  m.impl("addmm.dtype_out", &addmm_as_out);
  m.impl("bmm.dtype", &bmm_as);
  m.impl("scaled_dot_product_attention", &attention);
  m.impl("set_.source_Storage_storage_offset", TORCH_FN(at::native::set_storage_cpu_));
}
TORCH_LIBRARY_IMPL(aten, AutogradCUDA, m) { m.impl("scaled_dot_product_attention", &attention); }
TORCH_LIBRARY(virtual_cuda, m) {
  m.def("live() -> int", []() -> int64_t { return live; });
  m.def("peak() -> int", []() -> int64_t { return peak; });
  m.def("reset_peak() -> ()", []() { peak.store(live); });
  m.def("limit(int bytes) -> ()", [](int64_t bytes) { limit.store(bytes); });
  m.def("fail_with(str text) -> ()", [](const std::string& text) { failure = text; });
  m.def("default_generator() -> Generator?", []() -> Generator { return default_generator(); });
}
