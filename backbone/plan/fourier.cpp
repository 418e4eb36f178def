#include <hornet/backbone/plan/fourier.h>

#include <cmath>

namespace hornet::plan {
namespace {

const double kTwoPi = 2.0 * std::acos(-1.0);

// 4 before 2, then odd primes.
std::vector<int64_t> factors_of(int64_t n) {
  std::vector<int64_t> factors;
  while (n % 4 == 0) factors.push_back(4), n /= 4;
  if (n % 2 == 0) factors.push_back(2), n /= 2;
  for (int64_t p = 3; p * p <= n; p += 2) {
    while (n % p == 0) factors.push_back(p), n /= p;
  }
  if (n > 1) factors.push_back(n);
  return factors;
}

FourierPass make_pass(int64_t n, int64_t radix) {
  FourierPass pass;
  pass.radix = radix;
  pass.groups = n / radix;
  for (int64_t p = 0; p < pass.groups; ++p) {
    for (int64_t k = 1; k < radix; ++k) {
      const double angle = kTwoPi * static_cast<double>(p * k % n) / static_cast<double>(n);
      pass.twiddle_re.push_back(static_cast<float>(std::cos(angle)));
      pass.twiddle_im.push_back(static_cast<float>(-std::sin(angle)));
    }
  }
  if (radix % 2 == 0) return pass;
  for (int64_t k = 1; k <= radix / 2; ++k) {
    for (int64_t j = 1; j <= radix / 2; ++j) {
      const double angle = kTwoPi * static_cast<double>(j * k % radix) / static_cast<double>(radix);
      pass.cosines.push_back(static_cast<float>(std::cos(angle)));
      pass.sines.push_back(static_cast<float>(std::sin(angle)));
    }
  }
  return pass;
}

}  // namespace

FourierPlan make_fourier_plan(int64_t length) {
  FourierPlan plan;
  plan.length = length;
  int64_t n = length;
  for (int64_t radix : factors_of(length)) {
    plan.passes.push_back(make_pass(n, radix));
    n /= radix;
  }
  return plan;
}

}  // namespace hornet::plan
