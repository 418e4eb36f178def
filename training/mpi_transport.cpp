#include <hornet/backbone/error.h>
#include <hornet/training/internal/transport.h>
#include <mpi.h>

#include <algorithm>
#include <cstdlib>
#include <exception>
#include <iterator>
#include <limits>

namespace hornet {
namespace {

MPI_Datatype type_of(const torch::Tensor& tensor) {
  switch (tensor.scalar_type()) {
    case torch::kFloat32:
      return MPI_FLOAT;
    case torch::kFloat64:
      return MPI_DOUBLE;
    case torch::kInt64:
      return MPI_INT64_T;
    default:
      TORCH_CHECK(false, "MPI: tensors of ", tensor.scalar_type(), " do not travel");
  }
}

// `call` with the memory of the tensor, or of its copy on the CPU.
template <typename Call>
void on_cpu(torch::Tensor& tensor, Call&& call) {
  TORCH_CHECK(tensor.numel() <= std::numeric_limits<int>::max(), "MPI: a tensor of ",
              tensor.numel(), " numbers");
  const torch::Tensor host = tensor.cpu();
  call(host.data_ptr(), static_cast<int>(host.numel()), type_of(host));
  if (!tensor.is_cpu()) tensor.copy_(host);
}

int rank_of_world() {
  int rank = 0;
  MPI_Comm_rank(MPI_COMM_WORLD, &rank);
  return rank;
}

int size_of_world() {
  int size = 1;
  MPI_Comm_size(MPI_COMM_WORLD, &size);
  return size;
}

// An error inside MPI ends all processes with MPI's own message, which is its default.
class MpiTransport : public Transport {
 public:
  MpiTransport() : Transport(rank_of_world(), size_of_world()) {}

  // The others would wait for ever in MPI_Finalize for one that an exception has taken out of step.
  ~MpiTransport() override {
    if (std::uncaught_exceptions() == 0) MPI_Finalize();
  }

  void sum(torch::Tensor& tensor) override {
    on_cpu(tensor, [](void* data, int count, MPI_Datatype type) {
      MPI_Allreduce(MPI_IN_PLACE, data, count, type, MPI_SUM, MPI_COMM_WORLD);
    });
  }

  void broadcast(torch::Tensor& tensor) override {
    on_cpu(tensor, [](void* data, int count, MPI_Datatype type) {
      MPI_Bcast(data, count, type, /*root=*/0, MPI_COMM_WORLD);
    });
  }

  void abort(int code) noexcept override { MPI_Abort(MPI_COMM_WORLD, code); }
};

// Whether Slurm has counted the processes, and nobody has told Open MPI how they find each other,
// which would end the process in its initialisation, with a page about how Slurm is built. Others
// find Slurm's processes by themselves.
bool is_left_alone_by_slurm() {
#ifdef OPEN_MPI
  const char* const known[] = {"PMIX_NAMESPACE", "PMI_RANK", "OMPI_COMM_WORLD_RANK"};
  return std::getenv("SLURM_STEP_ID") != nullptr &&
         std::none_of(std::begin(known), std::end(known),
                      [](const char* name) { return std::getenv(name) != nullptr; });
#else
  return false;
#endif
}

[[noreturn]] void refuse(const ProcessGroup& group, const std::string& found) {
  throw Error(ErrorCode::kUsage, "started as process " + std::to_string(group.rank) + " of " +
                                     std::to_string(group.size) + ", but MPI knows of " + found +
                                     ": on CPUs training is started by mpirun, of the MPI that "
                                     "this program was built with, or by srun --mpi=pmix");
}

}  // namespace

std::shared_ptr<Transport> make_mpi_transport(const ProcessGroup& group) {
  if (is_left_alone_by_slurm()) refuse(group, "none");
  int provided = 0;
  MPI_Init_thread(nullptr, nullptr, MPI_THREAD_FUNNELED, &provided);
  if (size_of_world() != group.size) {
    const std::string found = std::to_string(size_of_world());
    MPI_Finalize();
    refuse(group, found);
  }
  return std::make_shared<MpiTransport>();
}

}  // namespace hornet
